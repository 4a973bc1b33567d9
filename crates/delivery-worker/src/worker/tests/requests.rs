//! What receivers get is what the request of a try says of itself, which is what `explain` shows.

use bytes::Bytes;
use postrider_contract::delivery::{DeliveryRef, Query};
use postrider_contract::postback::{PostbackMethod, PostbackRule};
use postrider_contract::webhook::WebhookKind;
use postrider_service::webhook_requests::{TryRequest, WebhookRequests};

use super::*;

fn text_of(request: &TryRequest) -> String {
    let headers = request.written().map(|(name, value)| format!("{name}: {}\r\n", value.to_str().unwrap()));
    let head = format!("{} {} HTTP/1.1\r\n{}", request.method, request.target, headers.collect::<String>());
    format!("{head}\r\n{}", std::str::from_utf8(&request.body).unwrap())
}

fn with_own_headers(webhook: Webhook) -> Webhook {
    let (secrets, tenant) = (secret_box(), webhook.tenant.clone());
    let places = WebhookSecrets::new(&secrets, &tenant, webhook.id);
    let seal = |place, text: &str| places.seal(place, &Secret::new(text.to_owned()), &Counting::default());
    let names = ["X-Partner-Key", "x-lower"];
    let headers = names
        .map(|name| CustomHeader { name: name.to_owned(), value: seal(SecretPlace::Header(name), "k3y") });
    let token = seal(SecretPlace::BearerToken, "t0ken");
    Webhook { authentication: Authentication::Bearer { token }, headers: headers.to_vec(), ..webhook }
}

fn postback(webhook: Webhook, method: PostbackMethod) -> Webhook {
    let postback = PostbackRule { method, ..PostbackRule::default() };
    Webhook { kind: WebhookKind::Postback, postback, ..webhook }
}

fn filled(body: &'static [u8]) -> Delivery {
    let reference = DeliveryRef { kind: WebhookKind::Postback, ..delivery().reference };
    let query = Query::Filled(Bytes::from_static(b"cid=a%20b&n=1.10"));
    Delivery { reference, query, body: Bytes::from_static(body), ..delivery() }
}

#[tokio::test]
async fn a_request_is_written_to_the_byte_as_it_says_of_itself() {
    for (delivery, change) in [
        (delivery(), &with_own_headers as &dyn Fn(Webhook) -> Webhook),
        (filled(b""), &|webhook| postback(webhook, PostbackMethod::Get)),
        (filled(b""), &|webhook| postback(webhook, PostbackMethod::Post)),
        (filled(b"id=1"), &|webhook| postback(with_own_headers(webhook), PostbackMethod::Post)),
    ] {
        for profile in ["trcker", "trakkr"] {
            let receiver = Receiver::saying(vec![Step::Say(OK)]).await;
            let called = change(webhook(&receiver.url()));
            let delivery = Delivery { profile: profile.parse().unwrap(), ..delivery.clone() };
            let mut stage = Stage::with_profile(called.clone(), profile).await;
            stage.publish(Route::First, delivery.clone()).await;
            stage.attempted().await;
            let requests = WebhookRequests::open(entry(called, profile, 1), &secret_box()).unwrap();
            let request = requests.of_try(&delivery, noon(), &requests.signing_keys(noon())).unwrap();
            assert_eq!(receiver.seen.requests()[0].1, text_of(&request), "{profile}");
            stage.drained().await.unwrap();
        }
    }
}

/// Servers may refuse a POST without a length (411).
#[tokio::test]
async fn a_post_without_content_says_so() {
    let receiver = Receiver::saying(vec![Step::Say(OK)]).await;
    let mut stage = Stage::with(postback(webhook(&receiver.url()), PostbackMethod::Post)).await;
    stage.publish(Route::First, filled(b"")).await;
    stage.attempted().await;
    let headers = headers_of(&receiver.seen.requests()[0].1);
    assert!(headers.contains(&("Content-Length".to_owned(), "0".to_owned())), "{headers:?}");
    stage.drained().await.unwrap();
}

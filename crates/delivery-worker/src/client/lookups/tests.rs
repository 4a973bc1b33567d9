use std::collections::HashMap;
use std::net::Ipv4Addr;

use futures_util::FutureExt;
use futures_util::future::join_all;
use postrider_contract::attempt::Phase;

use super::*;
use crate::client::tests::receiver::{failure, parts, request};
use crate::client::{ClientParts, HttpClient};

const ADDRESS: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1));

/// Names that begin with `hang` get no answer until let go; others at once.
struct Names {
    asked: Mutex<HashMap<String, usize>>,
    let_go: Semaphore,
}

impl Names {
    fn new() -> Arc<Self> {
        Arc::new(Names { asked: Mutex::default(), let_go: Semaphore::new(0) })
    }

    fn asked(&self, name: &str) -> usize {
        self.asked.lock().unwrap().get(name).copied().unwrap_or(0)
    }
}

#[async_trait::async_trait]
impl Resolver for Names {
    async fn resolve(&self, name: &str) -> io::Result<Vec<IpAddr>> {
        *self.asked.lock().unwrap().entry(name.to_owned()).or_default() += 1;
        if name.starts_with("hang") {
            self.let_go.acquire().await.map_err(io::Error::other)?.forget();
        }
        if name.starts_with("panic") {
            panic!("a resolver of the test");
        }
        if name.starts_with("nothing") { Err(io::ErrorKind::NotFound.into()) } else { Ok(vec![ADDRESS]) }
    }
}

fn deadline() -> Instant {
    Instant::now() + Duration::from_secs(20)
}

#[tokio::test(start_paused = true)]
async fn a_name_that_hangs_holds_one_look_up_however_many_wait_for_it() {
    let names = Names::new();
    let lookups = Lookups::new(Arc::clone(&names) as _, 2);
    let hanging = join_all((0..256).map(|_| lookups.resolve("hang.example", deadline())));
    let mut hanging = std::pin::pin!(hanging);
    assert!(hanging.as_mut().now_or_never().is_none());
    let well = lookups.resolve("well.example", deadline()).await.expect("it resolves");
    assert_eq!(&well[..], [ADDRESS]);
    names.let_go.add_permits(1);
    for answer in hanging.await {
        assert_eq!(&answer.expect("the shared answer")[..], [ADDRESS]);
    }
    assert_eq!((names.asked("hang.example"), names.asked("well.example")), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn nothing_is_remembered_past_the_look_up() {
    let names = Names::new();
    let lookups = Lookups::new(Arc::clone(&names) as _, 1);
    for _ in 0..3 {
        lookups.resolve("well.example", deadline()).await.expect("it resolves");
        let missing = lookups.resolve("nothing.example", deadline()).await;
        assert!(matches!(missing, Err(CallFailure::Counted { class: FailureClass::Dns, .. })), "{missing:?}");
        let broken = lookups.resolve("panic.example", deadline()).await;
        assert!(matches!(broken, Err(CallFailure::Counted { class: FailureClass::Dns, .. })), "{broken:?}");
    }
    for name in ["well.example", "nothing.example", "panic.example"] {
        assert_eq!(names.asked(name), 3, "{name}");
    }
    assert!(lookups.shared.under_way().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_look_up_that_nobody_waits_for_any_more_is_not_made() {
    let names = Names::new();
    let lookups = Lookups::new(Arc::clone(&names) as _, 1);
    let mut hanging = std::pin::pin!(lookups.resolve("hang.example", deadline()));
    assert!(hanging.as_mut().now_or_never().is_none());
    let waiting = lookups.resolve("later.example", deadline()).await;
    assert!(matches!(waiting, Err(CallFailure::NotMade(LocalShortage::Lookups))), "{waiting:?}");
    names.let_go.add_permits(1);
    hanging.await.expect("its answer");
    lookups.resolve("well.example", deadline()).await.expect("it resolves");
    assert_eq!(names.asked("later.example"), 0);
    assert!(lookups.shared.under_way().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_silent_name_fails_its_own_tries_and_costs_others_none() {
    let resolver: Arc<dyn Resolver> = Names::new();
    let client = HttpClient::new(ClientParts { resolver, ..parts() }).expect("a client");
    let of = |number: usize| client.call(request(&format!("http://hang{number}.example/")));
    let mut silent = std::pin::pin!(join_all((0..MAX_LOOKUPS).map(of)));
    assert!(silent.as_mut().now_or_never().is_none());
    let (silent, other) = tokio::join!(silent, client.call(request("http://well.example/")));
    assert_eq!(other.err(), Some(LocalShortage::Lookups), "it got no turn, so no try was made");
    for call in silent {
        assert_eq!(failure(&call.expect("a try")), FailureClass::Timeout(Phase::Dns));
    }
}

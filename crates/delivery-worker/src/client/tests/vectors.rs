//! The samples of kind `dns` and `redirect`, judged by the connections that were really opened.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use postrider_contract::attempt::FailureClass;
use postrider_contract::egress::{AddressRule, VettedAddress};
use serde_json::Value;
use tokio::net::TcpStream;

use super::receiver::{Receiver, Step, call, client, failure, request, response};
use crate::client::{ClientParts, Connect, HttpClient, Resolver};

const SAMPLES: &str = include_str!("../../../../../tests/vectors/ssrf-vectors.json");

fn samples(kind: &str) -> Vec<Value> {
    let file: Value = serde_json::from_str(SAMPLES).unwrap();
    let all = file["vectors"].as_array().unwrap();
    all.iter().filter(|sample| sample["kind"] == kind).cloned().collect()
}

/// Answers as the sample says: every answer in turn.
struct SampleResolver {
    answers: Vec<Option<Vec<IpAddr>>>,
    asked: AtomicUsize,
}

#[async_trait::async_trait]
impl Resolver for SampleResolver {
    async fn resolve(&self, _: &str) -> io::Result<Vec<IpAddr>> {
        let turn = self.asked.fetch_add(1, Ordering::SeqCst);
        self.answers[turn % self.answers.len()].clone().ok_or_else(|| io::ErrorKind::NotFound.into())
    }
}

fn answer(answer: &Value) -> Option<Vec<IpAddr>> {
    if answer["rcode"].is_string() {
        return None;
    }
    let listed = ["A", "AAAA"].into_iter().filter_map(|kind| answer[kind].as_array()).flatten();
    let mut addresses: Vec<IpAddr> = listed.map(|text| text.as_str().unwrap().parse().unwrap()).collect();
    if let Some(count) = answer["A_generated"]["count"].as_u64() {
        let made = (0..count).map(|i| {
            let [.., high, low] = i.to_be_bytes();
            IpAddr::V4(Ipv4Addr::new(10, high, low, 1))
        });
        addresses.extend(made);
    }
    Some(addresses)
}

/// Notes who would be called, and calls nobody.
#[derive(Default)]
struct Refusing(Mutex<Vec<SocketAddr>>);

#[async_trait::async_trait]
impl Connect for Refusing {
    async fn connect(&self, address: VettedAddress) -> io::Result<TcpStream> {
        self.0.lock().unwrap().push(address.socket_addr());
        Err(io::ErrorKind::ConnectionRefused.into())
    }
}

#[tokio::test]
async fn no_answer_of_a_resolver_leads_to_an_address_that_may_not_be_called() {
    let samples = samples("dns");
    assert!(samples.len() >= 9);
    for sample in samples {
        let id = sample["id"].as_str().unwrap();
        let answers = sample["answers"].as_array().unwrap().iter().map(answer).collect();
        let resolver = Arc::new(SampleResolver { answers, asked: AtomicUsize::new(0) });
        let connect = Arc::new(Refusing::default());
        let parts = ClientParts {
            resolver,
            connect: Arc::clone(&connect) as Arc<dyn Connect>,
            ..ClientParts::with_rule(AddressRule::default())
        };
        let client = HttpClient::new(parts).unwrap();
        let url = format!("https://{}/", sample["host"].as_str().unwrap());
        let calls = (0..200).map(|_| call(&client, request(&url)));
        let exchanges = futures_util::future::join_all(calls).await;
        let dialled = connect.0.lock().unwrap().clone();
        for address in &dialled {
            assert_eq!(address.ip(), IpAddr::V4(Ipv4Addr::new(93, 184, 215, 14)), "{id}");
        }
        if sample["expect"]["error"] == "dns" {
            assert!(exchanges.iter().all(|exchange| failure(exchange) == FailureClass::Dns), "{id}");
        } else if sample["expect"]["deliver"] == true {
            assert!(!dialled.is_empty(), "{id}");
        } else if sample["expect"]["deliver"] == false {
            assert!(exchanges.iter().all(|exchange| failure(exchange) == FailureClass::Blocked), "{id}");
        }
    }
}

#[tokio::test]
async fn no_answer_of_a_receiver_leads_us_elsewhere() {
    let samples = samples("redirect");
    assert!(samples.len() >= 5);
    for sample in samples {
        let status = sample["status"].as_u64().unwrap();
        let mut head = format!("HTTP/1.1 {status} Sample\r\nContent-Length: 0\r\n");
        if let Some(location) = sample["location"].as_str() {
            let location = if location == "<itself>" { "/hook?a=1" } else { location };
            head.push_str(&format!("Location: {location}\r\n"));
        }
        for (name, value) in sample["headers"].as_object().into_iter().flatten() {
            head.push_str(&format!("{name}: {}\r\n", value.as_str().unwrap()));
        }
        head.push_str("\r\n");
        let receiver = Receiver::saying(vec![Step::SayMany(head.into_bytes())]).await;
        let client = client();
        for calls in 1..=2 {
            let exchange = call(&client, request(&receiver.url())).await;
            assert_eq!(u64::from(response(&exchange).status), status, "{}", sample["id"]);
            assert_eq!(exchange.address, Some(receiver.address));
            assert_eq!(receiver.seen.requests().len(), calls, "{}", sample["id"]);
        }
    }
}

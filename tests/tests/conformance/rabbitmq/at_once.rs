//! A broker may confirm many messages with one answer (`multiple`), returned ones among them. RabbitMQ 3.10 was seen to
//! confirm what it returns one by one, so here its answers are put together on their way.

use std::collections::HashMap;
use std::io;
use std::sync::Arc;

use bytes::Bytes;
use postrider_contract::clock::Clock;
use postrider_contract::ports::{Publication, Route};
use postrider_rabbitmq::QueueName;
use postrider_service::system::SystemClock;
use postrider_tests::conformance::samples::fan_out;
use postrider_tests::conformance::soon;
use tokio::io::{AsyncReadExt, AsyncWriteExt, copy};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::task::AbortOnDropHandle;

use super::broker::{Raw, fresh_url, name_of};
use super::publishing::assuming;

/// How many messages are confirmed by one answer.
const AT_ONCE: usize = 500;
/// The numbers of the class and the method of `basic.return` and `basic.ack`.
const RETURN: [u8; 4] = [0, 60, 0, 50];
const ACK: [u8; 4] = [0, 60, 0, 80];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn none_of_many_returned_messages_is_taken_for_confirmed_when_one_answer_is_for_all() {
    let url = fresh_url().await;
    let (front, _forwarding) = put_together(&url).await;
    let queue = assuming(&front).await;
    Raw::connect(&url).await.delete(&name_of(QueueName::First)).await;
    let mut calls = Vec::new();
    for _ in 0..20 * AT_ONCE {
        let work = fan_out(1, [Bytes::new(), Bytes::new()], SystemClock.now());
        let (queue, unroutable) = (Arc::clone(&queue), Publication { route: Route::First, work });
        calls.push(tokio::spawn(async move { queue.publish(vec![unroutable]).await }));
    }
    let mut believed = 0;
    for call in calls {
        believed += u32::from(soon(call).await.expect("it does not panic").is_ok());
    }
    assert_eq!(believed, 0, "as many are lost");
}

/// Where a broker is that confirms what it returned only once it can confirm many with one answer.
async fn put_together(url: &str) -> (String, AbortOnDropHandle<()>) {
    let (head, rest) = url.split_once('@').expect("user and host");
    let (broker, vhost) = rest.split_once('/').expect("host and virtual host");
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let front = format!("{head}@{}/{vhost}", listener.local_addr().expect("its address"));
    let broker = broker.to_owned();
    let forwarding = tokio::spawn(async move {
        while let Ok((client, _)) = listener.accept().await {
            let server = TcpStream::connect(&broker).await.expect("the broker runs");
            let ((mut asks, answers_to), (answers, mut asked)) = (client.into_split(), server.into_split());
            tokio::spawn(async move {
                tokio::select! {
                    _ = copy(&mut asks, &mut asked) => {}
                    _ = forward(answers, answers_to) => {}
                }
            });
        }
    });
    (front, AbortOnDropHandle::new(forwarding))
}

/// Frames are a type, a channel, a length, as many bytes, and an end; those of a method begin with its number.
async fn forward(mut from: OwnedReadHalf, mut to: OwnedWriteHalf) -> io::Result<()> {
    let mut held = HashMap::<[u8; 2], usize>::new();
    loop {
        let mut head = [0; 7];
        from.read_exact(&mut head).await?;
        let [kind, high, low, length @ ..] = head;
        let mut rest = vec![0; u32::from_be_bytes(length) as usize + 1];
        from.read_exact(&mut rest).await?;
        let is = |method: [u8; 4]| kind == 1 && rest.starts_with(&method);
        if is(RETURN) {
            held.entry([high, low]).or_default();
        }
        if is(ACK)
            && let Some(held) = held.get_mut(&[high, low])
        {
            *held += 1;
            if *held < AT_ONCE {
                continue;
            }
            *held = 0;
            // After the method the tag of a message, then whether it stands for all before it.
            rest[12] = 1;
        }
        to.write_all(&head).await?;
        to.write_all(&rest).await?;
    }
}

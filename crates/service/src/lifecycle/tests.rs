use std::convert::Infallible;

use futures_util::stream;
use tokio::sync::mpsc;

use super::*;

const GRACE: Duration = Duration::from_secs(30);

fn no_signals() -> impl Stream<Item = EndSignal> {
    stream::pending()
}

/// A stream fed by the test, so that signals come at a known step.
fn fed_signals() -> (mpsc::Sender<EndSignal>, impl Stream<Item = EndSignal>) {
    let (sender, receiver) = mpsc::channel(4);
    let signals = stream::unfold(receiver, |mut receiver| async move {
        let came = receiver.recv().await?;
        Some((came, receiver))
    });
    (sender, signals)
}

#[tokio::test]
async fn the_first_signal_lets_roles_finish() {
    let mut lifecycle = Lifecycle::new(GRACE);
    let stop = lifecycle.stop();
    lifecycle.spawn("worker", async move {
        stop.draining().await;
        assert!(!stop.is_halted());
        Ok::<_, Infallible>(())
    });
    let stopped = lifecycle.run_until_stopped(stream::iter([EndSignal]).chain(no_signals())).await;
    assert!(stopped.is_clean(), "{stopped}");
}

#[tokio::test]
async fn a_second_signal_stops_at_once_and_names_who_had_not_finished() {
    let mut lifecycle = Lifecycle::new(GRACE);
    let stop = lifecycle.stop();
    let (sender, signals) = fed_signals();
    lifecycle.spawn("worker", async move {
        sender.send(EndSignal).await.expect("the lifecycle listens");
        stop.draining().await;
        sender.send(EndSignal).await.expect("the lifecycle listens");
        stop.halted().await;
        Ok::<_, Infallible>(())
    });
    let stopped = lifecycle.run_until_stopped(signals).await;
    assert!(matches!(stopped, Stopped::GraceExceeded { unfinished } if unfinished == ["worker"]));
}

#[tokio::test(start_paused = true)]
async fn the_grace_deadline_stops_a_role_that_does_not_listen() {
    let mut lifecycle = Lifecycle::new(GRACE);
    lifecycle.spawn("deaf", std::future::pending::<Result<(), Infallible>>());
    let stopped = lifecycle.run_until_stopped(stream::iter([EndSignal]).chain(no_signals())).await;
    assert!(matches!(stopped, Stopped::GraceExceeded { unfinished } if unfinished == ["deaf"]));
}

async fn fate_of(role: impl Future<Output = Result<(), Cause>> + Send + 'static) -> (String, String) {
    let mut lifecycle = Lifecycle::new(GRACE);
    let stop = lifecycle.stop();
    lifecycle.spawn("other", async move {
        stop.draining().await;
        Ok::<_, Infallible>(())
    });
    lifecycle.spawn("first", role);
    match lifecycle.run_until_stopped(no_signals()).await {
        Stopped::RoleFailed { name, cause } => (name, cause.to_string()),
        other @ (Stopped::Clean | Stopped::GraceExceeded { .. }) => panic!("{other}"),
    }
}

#[tokio::test]
async fn a_role_that_ends_by_itself_fails_the_process_by_name() {
    assert_eq!(fate_of(async { Ok(()) }).await, ("first".into(), "it ended by itself".into()));
    assert_eq!(fate_of(async { Err("no broker".into()) }).await, ("first".into(), "no broker".into()));
    let panicked = fate_of(async { panic!("an invariant broke") }).await;
    assert_eq!(panicked, ("first".into(), "it panicked: an invariant broke".into()));
}

#[tokio::test]
async fn a_role_that_fails_while_draining_is_still_a_failure() {
    let mut lifecycle = Lifecycle::new(GRACE);
    let stop = lifecycle.stop();
    lifecycle.spawn("status", async move {
        stop.draining().await;
        Err::<(), _>("the store went away")
    });
    let stopped = lifecycle.run_until_stopped(stream::iter([EndSignal]).chain(no_signals())).await;
    assert!(matches!(stopped, Stopped::RoleFailed { name, .. } if name == "status"));
}

#[tokio::test]
async fn a_drain_asked_for_from_within_is_a_clean_end() {
    let mut lifecycle = Lifecycle::new(GRACE);
    let stop = lifecycle.stop();
    lifecycle.spawn("bench", async move {
        stop.drain();
        Ok::<_, Infallible>(())
    });
    assert!(lifecycle.run_until_stopped(no_signals()).await.is_clean());
}

//! Keyed requests of many producers, many to one statement.

use std::sync::Arc;

use postrider_contract::ids::TenantId;
use postrider_contract::ports::{
    BegunRequest, KeyName, KeyedOutcome, KeyedRequest, KeyedRequests, KeyedState, StoreError,
};
use tokio::sync::{mpsc, oneshot};

/// One statement's worth; a larger one gains nothing (a row costs what it costs).
const MAX_TOGETHER: usize = 500;
const QUEUE: usize = 4_096;

enum Ask {
    Begin {
        request: KeyedRequest,
        answer: Answer<KeyedOutcome>,
    },
    Confirm {
        begun: BegunRequest,
        answer: Answer<()>,
    },
    /// Each event that is turned away with a key asks, in case that it was accepted before.
    Find {
        names: Vec<(TenantId, KeyName)>,
        answer: Answer<Vec<Found>>,
    },
    Withdraw {
        begun: Vec<BegunRequest>,
        answer: Answer<()>,
    },
}

type Names = Vec<(TenantId, KeyName)>;
type Found = Option<(KeyedRequest, KeyedState)>;

type Answer<T> = oneshot::Sender<Result<T, Unanswered>>;

/// The store did not say. For keyed requests alone this is a 503; others go on.
#[derive(Debug, Clone, thiserror::Error)]
#[error("cannot look up the idempotency key: {reason}")]
pub struct Unanswered {
    pub reason: String,
}

/// A handle; cheap to clone.
#[derive(Clone)]
pub struct KeyedGate {
    asks: mpsc::Sender<Ask>,
}

impl KeyedGate {
    /// Starts the task that asks the store. It ends when every handle is gone.
    #[must_use]
    pub fn start(store: Arc<dyn KeyedRequests>) -> Self {
        let (asks, receiver) = mpsc::channel(QUEUE);
        tokio::spawn(serve(store, receiver));
        KeyedGate { asks }
    }

    pub(crate) async fn begin(&self, request: KeyedRequest) -> Result<KeyedOutcome, Unanswered> {
        self.ask(|answer| Ask::Begin { request, answer }).await
    }

    pub(crate) async fn confirm(&self, begun: BegunRequest) -> Result<(), Unanswered> {
        self.ask(|answer| Ask::Confirm { begun, answer }).await
    }

    pub(crate) async fn find(&self, names: Names) -> Result<Vec<Found>, Unanswered> {
        self.ask(|answer| Ask::Find { names, answer }).await
    }

    pub(crate) async fn withdraw(&self, begun: Vec<BegunRequest>) -> Result<(), Unanswered> {
        self.ask(|answer| Ask::Withdraw { begun, answer }).await
    }

    async fn ask<T>(&self, ask: impl FnOnce(Answer<T>) -> Ask) -> Result<T, Unanswered> {
        let (answer, answered) = oneshot::channel();
        self.asks.send(ask(answer)).await.map_err(|_| stopped())?;
        answered.await.map_err(|_| stopped())?
    }
}

fn stopped() -> Unanswered {
    Unanswered { reason: "shutting down".to_owned() }
}

async fn serve(store: Arc<dyn KeyedRequests>, mut asks: mpsc::Receiver<Ask>) {
    let mut together = Vec::with_capacity(MAX_TOGETHER);
    while asks.recv_many(&mut together, MAX_TOGETHER).await > 0 {
        let (mut begins, mut confirms, mut finds, mut withdrawals) = (vec![], vec![], vec![], vec![]);
        for ask in together.drain(..) {
            match ask {
                Ask::Begin { request, answer } => begins.push((request, answer)),
                Ask::Confirm { begun, answer } => confirms.push((begun, answer)),
                Ask::Find { names, answer } => finds.push((names, answer)),
                Ask::Withdraw { begun, answer } => withdrawals.push((begun, answer)),
            }
        }
        tokio::join!(
            answer_begins(&*store, begins),
            answer_confirms(&*store, confirms),
            answer_finds(&*store, finds),
            answer_withdrawals(&*store, withdrawals),
        );
    }
}

async fn answer_begins(store: &dyn KeyedRequests, begins: Vec<(KeyedRequest, Answer<KeyedOutcome>)>) {
    if begins.is_empty() {
        return;
    }
    let (requests, answers): (Vec<_>, Vec<_>) = begins.into_iter().unzip();
    match store.begin(requests).await {
        Ok(outcomes) => {
            for (answer, outcome) in answers.into_iter().zip(outcomes) {
                drop(answer.send(Ok(outcome)));
            }
        }
        Err(error) => tell_all(answers, &Err(unanswered(&error))),
    }
}

async fn answer_confirms(store: &dyn KeyedRequests, confirms: Vec<(BegunRequest, Answer<()>)>) {
    if confirms.is_empty() {
        return;
    }
    let (begun, answers): (Vec<_>, Vec<_>) = confirms.into_iter().unzip();
    tell_all(answers, &store.confirm(begun).await.map_err(|error| unanswered(&error)));
}

async fn answer_finds(store: &dyn KeyedRequests, finds: Vec<(Names, Answer<Vec<Found>>)>) {
    if finds.is_empty() {
        return;
    }
    let (names, answers): (Vec<_>, Vec<_>) = finds.into_iter().unzip();
    let counts: Vec<usize> = names.iter().map(Vec::len).collect();
    match store.find(names.into_iter().flatten().collect()).await {
        Ok(found) => {
            let mut found = found.into_iter();
            for (answer, count) in answers.into_iter().zip(counts) {
                drop(answer.send(Ok(found.by_ref().take(count).collect())));
            }
        }
        Err(error) => tell_all(answers, &Err(unanswered(&error))),
    }
}

async fn answer_withdrawals(store: &dyn KeyedRequests, withdrawals: Vec<(Vec<BegunRequest>, Answer<()>)>) {
    if withdrawals.is_empty() {
        return;
    }
    let (begun, answers): (Vec<_>, Vec<_>) = withdrawals.into_iter().unzip();
    let withdrawn = store.withdraw(begun.into_iter().flatten().collect()).await;
    tell_all(answers, &withdrawn.map_err(|error| unanswered(&error)));
}

/// Whoever does not wait any more need not know.
fn tell_all<T: Clone>(answers: Vec<Answer<T>>, what: &Result<T, Unanswered>) {
    answers.into_iter().for_each(|answer| drop(answer.send(what.clone())));
}

fn unanswered(error: &StoreError) -> Unanswered {
    Unanswered { reason: error.to_string() }
}

#[cfg(test)]
mod tests {
    use postrider_contract::clock::Timestamp;
    use postrider_contract::fakes::{FakeKeyedRequests, Outage};

    use super::*;

    fn tenant() -> TenantId {
        "a".parse().unwrap()
    }

    fn request(key: &str) -> KeyedRequest {
        KeyedRequest {
            tenant: tenant(),
            name: KeyName::Request(key.to_owned()),
            body_hash: [0; 32],
            event: format!("evt_{key}").parse().unwrap(),
            accepted_at: Timestamp::EPOCH,
            matches: Vec::new(),
        }
    }

    fn names(keys: &[&str]) -> Names {
        keys.iter().map(|key| (tenant(), KeyName::Request((*key).to_owned()))).collect()
    }

    fn events(found: Result<Vec<Found>, Unanswered>) -> Vec<Option<String>> {
        let event = |found: Found| found.map(|(request, _)| request.event.to_string());
        found.unwrap().into_iter().map(event).collect()
    }

    #[tokio::test]
    async fn of_what_is_asked_together_everybody_is_answered_their_own() {
        let gate = KeyedGate::start(Arc::new(FakeKeyedRequests::new(Arc::new(Outage::default()))));
        for key in ["one", "two", "three"] {
            gate.begin(request(key)).await.unwrap();
        }
        let (first, second, _) = tokio::join!(
            gate.find(names(&["two", "none", "one"])),
            gate.find(names(&["three"])),
            gate.withdraw(vec![request("one").begun()]),
        );
        assert_eq!(events(second), [Some("evt_three".to_owned())]);
        let first = events(first);
        assert_eq!((first.len(), &first[0], &first[1]), (3, &Some("evt_two".to_owned()), &None));
        assert_eq!(events(gate.find(names(&["one", "two"])).await), [None, Some("evt_two".to_owned())]);
    }

    #[tokio::test]
    async fn a_store_that_is_away_answers_nobody_and_hangs_nobody() {
        let outage = Arc::new(Outage::default());
        let gate = KeyedGate::start(Arc::new(FakeKeyedRequests::new(Arc::clone(&outage))));
        outage.begin("away");
        let (begun, found, withdrawn) = tokio::join!(
            gate.begin(request("one")),
            gate.find(names(&["one"])),
            gate.withdraw(vec![request("one").begun()]),
        );
        assert!(begun.is_err() && found.is_err() && withdrawn.is_err());
        outage.end();
        assert_eq!(gate.begin(request("one")).await.unwrap(), KeyedOutcome::Inserted);
    }
}

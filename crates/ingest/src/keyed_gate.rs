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
    Begin { request: KeyedRequest, answer: Answer<KeyedOutcome> },
    Confirm { begun: BegunRequest, answer: Answer<()> },
}

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
    store: Arc<dyn KeyedRequests>,
}

impl KeyedGate {
    /// Starts the task that asks the store. It ends when every handle is gone.
    #[must_use]
    pub fn start(store: Arc<dyn KeyedRequests>) -> Self {
        let (asks, receiver) = mpsc::channel(QUEUE);
        tokio::spawn(serve(Arc::clone(&store), receiver));
        KeyedGate { asks, store }
    }

    pub(crate) async fn begin(&self, request: KeyedRequest) -> Result<KeyedOutcome, Unanswered> {
        let (answer, answered) = oneshot::channel();
        self.asks.send(Ask::Begin { request, answer }).await.map_err(|_| stopped())?;
        answered.await.map_err(|_| stopped())?
    }

    pub(crate) async fn confirm(&self, begun: BegunRequest) -> Result<(), Unanswered> {
        let (answer, answered) = oneshot::channel();
        self.asks.send(Ask::Confirm { begun, answer }).await.map_err(|_| stopped())?;
        answered.await.map_err(|_| stopped())?
    }
}

impl KeyedGate {
    /// Rare, so each asks for itself.
    pub(crate) async fn find(
        &self,
        names: Vec<(TenantId, KeyName)>,
    ) -> Result<Vec<Option<(KeyedRequest, KeyedState)>>, Unanswered> {
        self.store.find(names).await.map_err(|error| note(&error))
    }

    /// As [`KeyedGate::find`].
    pub(crate) async fn withdraw(&self, begun: Vec<BegunRequest>) -> Result<(), Unanswered> {
        self.store.withdraw(begun).await.map_err(|error| note(&error))
    }
}

fn stopped() -> Unanswered {
    Unanswered { reason: "shutting down".to_owned() }
}

async fn serve(store: Arc<dyn KeyedRequests>, mut asks: mpsc::Receiver<Ask>) {
    let mut together = Vec::with_capacity(MAX_TOGETHER);
    while asks.recv_many(&mut together, MAX_TOGETHER).await > 0 {
        let (mut begins, mut confirms) = (Vec::new(), Vec::new());
        for ask in together.drain(..) {
            match ask {
                Ask::Begin { request, answer } => begins.push((request, answer)),
                Ask::Confirm { begun, answer } => confirms.push((begun, answer)),
            }
        }
        tokio::join!(answer_begins(&*store, begins), answer_confirms(&*store, confirms));
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
        Err(error) => {
            let unanswered = note(&error);
            answers.into_iter().for_each(|answer| drop(answer.send(Err(unanswered.clone()))));
        }
    }
}

async fn answer_confirms(store: &dyn KeyedRequests, confirms: Vec<(BegunRequest, Answer<()>)>) {
    if confirms.is_empty() {
        return;
    }
    let (begun, answers): (Vec<_>, Vec<_>) = confirms.into_iter().unzip();
    let result = store.confirm(begun).await.map_err(|error| note(&error));
    answers.into_iter().for_each(|answer| drop(answer.send(result.clone())));
}

fn note(error: &StoreError) -> Unanswered {
    Unanswered { reason: error.to_string() }
}

//! State that can be waited on, without a runtime: every change wakes all who wait, and each looks for itself.

use std::fmt;
use std::future::poll_fn;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

pub(super) struct Watched<T>(Mutex<Inner<T>>);

struct Inner<T> {
    state: T,
    waiting: Vec<Waker>,
}

impl<T> Watched<T> {
    pub(super) fn new(state: T) -> Self {
        Watched(Mutex::new(Inner { state, waiting: Vec::new() }))
    }

    /// A panic elsewhere leaves the state as it is: a test then shows that panic, not this lock.
    fn lock(&self) -> MutexGuard<'_, Inner<T>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn read<R>(&self, look: impl FnOnce(&T) -> R) -> R {
        look(&self.lock().state)
    }

    pub(super) fn change<R>(&self, change: impl FnOnce(&mut T) -> R) -> R {
        let mut inner = self.lock();
        let result = change(&mut inner.state);
        let waiting = std::mem::take(&mut inner.waiting);
        drop(inner);
        waiting.into_iter().for_each(Waker::wake);
        result
    }

    /// Waits until `take` has something to give. It is asked at once and after every change; dropping the wait
    /// loses nothing, because what was taken is handed over in the same step.
    pub(super) async fn when<R>(&self, mut take: impl FnMut(&mut T) -> Option<R>) -> R {
        poll_fn(|context: &mut Context<'_>| {
            let mut inner = self.lock();
            if let Some(result) = take(&mut inner.state) {
                return Poll::Ready(result);
            }
            if !inner.waiting.iter().any(|waker| waker.will_wake(context.waker())) {
                inner.waiting.push(context.waker().clone());
            }
            Poll::Pending
        })
        .await
    }
}

impl<T> fmt::Debug for Watched<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Watched")
    }
}

//! A request body that must keep coming: cut when it stands still, and when it takes too long as a whole.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use tokio::time::{Instant, Sleep, sleep_until};

use crate::connection_phase::ConnectionPhase;

/// Why a body was cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the request body came too slowly")]
pub struct BodyTooSlow;

type Cause = Box<dyn std::error::Error + Send + Sync>;

/// Wraps the body of one request. No timer exists while bytes are there to be read.
pub(crate) struct TimedBody<B> {
    inner: B,
    idle: Duration,
    end_by: Instant,
    wait: Option<Pin<Box<Sleep>>>,
    phase: Arc<ConnectionPhase>,
}

impl<B: Body> TimedBody<B> {
    /// `idle` bounds each pause, `total` the whole body counted from now.
    pub(crate) fn new(inner: B, idle: Duration, total: Duration, phase: Arc<ConnectionPhase>) -> Self {
        if !inner.is_end_stream() {
            phase.note_body_begun();
        }
        TimedBody { inner, idle, end_by: Instant::now() + total, wait: None, phase }
    }
}

impl<B> Body for TimedBody<B>
where
    B: Body<Data = Bytes> + Unpin,
    B::Error: Into<Cause>,
{
    type Data = Bytes;
    type Error = Cause;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Cause>>> {
        let this = self.get_mut();
        match Pin::new(&mut this.inner).poll_frame(cx) {
            Poll::Ready(None) => {
                this.phase.note_body_read();
                Poll::Ready(None)
            }
            Poll::Ready(Some(frame)) => {
                this.wait = None;
                if this.inner.is_end_stream() {
                    this.phase.note_body_read();
                }
                Poll::Ready(Some(frame.map_err(Into::into)))
            }
            Poll::Pending => {
                let due = (Instant::now() + this.idle).min(this.end_by);
                let wait = this.wait.get_or_insert_with(|| Box::pin(sleep_until(due)));
                match wait.as_mut().poll(cx) {
                    Poll::Ready(()) => Poll::Ready(Some(Err(Box::new(BodyTooSlow)))),
                    Poll::Pending => Poll::Pending,
                }
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use futures_util::{StreamExt, stream};
    use http_body_util::{BodyExt, StreamBody};

    use super::*;

    const IDLE: Duration = Duration::from_secs(10);
    const TOTAL: Duration = Duration::from_secs(30);

    fn dripping(every: Duration) -> impl Body<Data = Bytes, Error = Infallible> + Unpin {
        let drops = stream::repeat(()).then(move |()| async move {
            tokio::time::sleep(every).await;
            Ok(Frame::data(Bytes::from_static(b"x")))
        });
        StreamBody::new(Box::pin(drops))
    }

    async fn outcome(every: Duration) -> (usize, bool) {
        let mut body = TimedBody::new(dripping(every), IDLE, TOTAL, Arc::default());
        for count in 0.. {
            match body.frame().await {
                Some(Ok(_)) => {}
                Some(Err(error)) => return (count, error.is::<BodyTooSlow>()),
                None => return (count, false),
            }
        }
        unreachable!("the loop has no end of its own")
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_that_stands_still_is_cut() {
        assert_eq!(outcome(Duration::from_secs(11)).await, (0, true));
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_that_drips_is_cut_at_the_total() {
        assert_eq!(outcome(Duration::from_secs(9)).await, (3, true));
    }
}

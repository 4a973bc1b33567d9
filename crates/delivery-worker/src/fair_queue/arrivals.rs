//! Whose first tries come late, and whose come most: what tells a crowd that others wait behind.

use std::collections::HashMap;
use std::time::Duration;

use postrider_contract::ids::WebhookId;
use tokio::time::Instant;

/// For so long a late arrival shows that others wait.
const COUNTS_FOR: Duration = Duration::from_secs(1);
/// From here on a delivery has waited long in the queue that all webhooks share.
const OLD: Duration = Duration::from_secs(1);
/// Shares are counted over this long.
const COUNTED_OVER: Duration = Duration::from_secs(1);
/// One in so many: whoever has less of what comes in than this takes nothing from the others that would help them.
const LEAST_SHARE: u32 = 8;

/// The two different webhooks of which something was seen last: so "of another one" can be answered for each.
#[derive(Clone, Copy, Debug, Default)]
struct LastSeen([Option<(WebhookId, Instant)>; 2]);

impl LastSeen {
    fn note(&mut self, webhook: WebhookId, now: Instant) {
        if self.0[0].is_some_and(|(latest, _)| latest != webhook) {
            self.0[1] = self.0[0];
        }
        self.0[0] = Some((webhook, now));
    }

    fn saw_another_than(&self, webhook: WebhookId, now: Instant) -> bool {
        let recent = self.0.iter().flatten().filter(|(_, at)| now.duration_since(*at) < COUNTS_FOR);
        recent.into_iter().any(|(other, _)| *other != webhook)
    }
}

#[derive(Debug)]
pub(super) struct Arrivals {
    /// From here on an arrival is late.
    patience: Duration,
    late: LastSeen,
    old: LastSeen,
    counts: HashMap<WebhookId, u32>,
    total: u32,
    counting_since: Option<Instant>,
    /// Who had the largest share of what came in while it was last counted, if it was a large one.
    crowd: Option<WebhookId>,
}

impl Arrivals {
    pub(super) fn new(patience: Duration) -> Self {
        Arrivals {
            patience,
            late: LastSeen::default(),
            old: LastSeen::default(),
            counts: HashMap::new(),
            total: 0,
            counting_since: None,
            crowd: None,
        }
    }

    /// A first try of this webhook was handed out by the queue, after it had waited there for so long.
    pub(super) fn note(&mut self, webhook: WebhookId, waited: Duration, now: Instant) {
        if waited > self.patience {
            self.late.note(webhook, now);
        }
        if waited > OLD {
            self.old.note(webhook, now);
        }
        let since = *self.counting_since.get_or_insert(now);
        if now.duration_since(since) >= COUNTED_OVER {
            let largest = self.counts.iter().max_by_key(|(webhook, count)| (**count, **webhook));
            self.crowd = largest
                .filter(|(_, count)| count.saturating_mul(LEAST_SHARE) >= self.total)
                .map(|(webhook, _)| *webhook);
            self.counts.clear();
            self.total = 0;
            self.counting_since = Some(now);
        }
        *self.counts.entry(webhook).or_default() += 1;
        self.total += 1;
    }

    /// Whether deliveries of another webhook come late.
    pub(super) fn do_others_wait(&self, webhook: WebhookId, now: Instant) -> bool {
        self.late.saw_another_than(webhook, now)
    }

    /// Whether the queue holds others up by over a second, and it is mostly this webhook that fills it.
    pub(super) fn is_crowding(&self, webhook: WebhookId, now: Instant) -> bool {
        self.crowd == Some(webhook) && self.old.saw_another_than(webhook, now)
    }
}

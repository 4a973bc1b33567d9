//! Who releases how many in one round, so that thousands of webhooks have their turn and one alone has it all.

use postrider_contract::ids::WebhookId;

/// Whose turn it was last. Webhooks take turns in the order of their ids.
#[derive(Debug, Default)]
pub(super) struct Turns {
    last: Option<WebhookId>,
}

impl Turns {
    /// Everyone gets as much as all can get, and what is left over goes to those that may have more. Nobody gets
    /// nothing twice while others get something twice.
    pub(super) fn share_out(
        &mut self,
        mut allowed: Vec<(WebhookId, u32)>,
        most: u32,
    ) -> Vec<(WebhookId, u32)> {
        allowed.retain(|(_, count)| *count > 0);
        allowed.sort_unstable_by_key(|(webhook, _)| *webhook);
        let next = allowed.partition_point(|(webhook, _)| Some(*webhook) <= self.last);
        allowed.rotate_left(next);
        let contenders = u32::try_from(allowed.len()).unwrap_or(u32::MAX);
        let each = (most / contenders.max(1)).max(1);
        let mut left = most;
        let mut given = Vec::with_capacity(allowed.len());
        for (webhook, count) in &allowed {
            let share = (*count).min(each).min(left);
            if share == 0 {
                break;
            }
            left -= share;
            given.push((*webhook, share));
        }
        self.last = given.last().map(|(webhook, _)| *webhook);
        for ((_, share), (_, count)) in given.iter_mut().zip(&allowed) {
            let more = (count - *share).min(left);
            *share += more;
            left -= more;
        }
        given
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn allowed(counts: &[u32]) -> Vec<(WebhookId, u32)> {
        counts.iter().zip(1..).map(|(count, id)| (WebhookId::from_u128(id), *count)).collect()
    }

    fn ids(given: &[(WebhookId, u32)]) -> Vec<u128> {
        given.iter().map(|(webhook, _)| webhook.as_u128()).collect()
    }

    #[test]
    fn one_alone_gets_all_and_the_modest_lose_nothing_to_the_greedy() {
        let mut turns = Turns::default();
        assert_eq!(turns.share_out(allowed(&[1_000]), 256), allowed(&[256]));
        let mut given = turns.share_out(allowed(&[1_000, 3, 0, 1_000]), 256);
        given.sort_unstable();
        let counts: Vec<u32> = given.iter().map(|(_, count)| *count).collect();
        assert_eq!((counts[1], counts.iter().sum::<u32>()), (3, 256));
        assert!(counts[0] >= 85 && counts[2] >= 85, "{counts:?}");
        assert!(turns.share_out(Vec::new(), 256).is_empty());
    }

    #[test]
    fn where_not_everyone_gets_something_the_next_round_goes_on_with_the_others() {
        let mut turns = Turns::default();
        let all = allowed(&[9; 10]);
        assert_eq!(ids(&turns.share_out(all.clone(), 4)), [1, 2, 3, 4]);
        assert_eq!(ids(&turns.share_out(all.clone(), 4)), [5, 6, 7, 8]);
        assert_eq!(ids(&turns.share_out(all, 4)), [9, 10, 1, 2]);
    }
}

//! When events are due that many producers publish by themselves: at a rate on average, each by chance.
//!
//! At even distances two loads would keep their distance for a whole run, and meet always or never: what is measured of
//! one beside the other would be that distance. And a thread tells the moments: the runtime's timers are up to a
//! millisecond late, which is as long as what is measured.

use std::thread;
use std::time::{Duration, Instant};

use postrider_contract::clock::Entropy;
use postrider_service::system::SystemEntropy;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

/// The moments of so many connections, which take turns. They end when none is asked for any more.
pub fn by_chance(rate: u32, connections: u32) -> Vec<UnboundedReceiver<Instant>> {
    let (senders, receivers) = (0..connections).map(|_| unbounded_channel()).unzip();
    thread::spawn(move || tell(rate, senders));
    receivers
}

fn tell(rate: u32, mut connections: Vec<UnboundedSender<Instant>>) {
    let mean = 1.0 / f64::from(rate.max(1));
    let mut due = Instant::now();
    while !connections.is_empty() {
        due += Duration::from_secs_f64(mean * -(1.0 - SystemEntropy.draw_jitter().draw()).ln());
        thread::sleep(due.saturating_duration_since(Instant::now()));
        connections.retain(|connection| !connection.is_closed());
        if let Some(next) = connections.first() {
            // One that closed just now has no event to send.
            next.send(due).ok();
            connections.rotate_left(1);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn moments_come_at_the_rate_on_average_at_no_fixed_distance_and_connections_take_turns() {
        let mut connections = by_chance(20_000, 4);
        let mut moments = Vec::new();
        for turn in 0..2_000 {
            moments.push(connections[turn % 4].recv().await.expect("a moment"));
        }
        assert!(moments.is_sorted());
        let gaps: Vec<f64> =
            moments.windows(2).map(|two| (two[1] - two[0]).as_secs_f64() * 20_000.0).collect();
        let mean = gaps.iter().sum::<f64>() / 1_999.0;
        assert!((0.8..1.25).contains(&mean), "{mean} of the distance asked for");
        let over = gaps.iter().filter(|gap| **gap > 1.0).count();
        assert!((550..920).contains(&over), "e⁻¹ of them, or 735, are longer than the mean; {over} were");
    }
}

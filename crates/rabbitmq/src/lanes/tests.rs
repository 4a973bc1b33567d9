//! Which lanes are blamed when one of them cannot be had.

use futures_util::future::join_all;
use tokio_util::sync::CancellationToken;

use super::*;
use crate::lane::Load;
use crate::settings::QueueLimits;

/// What the broker does about one lane.
#[derive(Clone, Copy)]
enum Fault {
    /// The connection ends.
    Stumbles,
    Silent,
    Missing,
    Lost,
}

/// A connection on which one lane is out of order. As the client library does, it tells whoever has a question under
/// way when it ends why it ended, and whoever asks later.
struct Broken {
    lane: Lane,
    by: Fault,
    ended: CancellationToken,
    given_up: CancellationToken,
}

impl Broken {
    fn over(lane: Lane, by: Fault) -> Self {
        Broken { lane, by, ended: CancellationToken::new(), given_up: CancellationToken::new() }
    }
}

impl Declaring for Broken {
    async fn declare(&self, lane: LaneQueue) -> Result<(), TopologyError> {
        const ANSWER: Duration = Duration::from_millis(10);
        if lane.lane != self.lane {
            return tokio::select! {
                () = self.ended.cancelled() => Err(TopologyError::Stumbled("541".to_owned())),
                () = tokio::time::sleep(ANSWER * 2) => Ok(()),
            };
        }
        match self.by {
            Fault::Stumbles => {
                tokio::time::sleep(ANSWER).await;
                self.ended.cancel();
                Err(TopologyError::Stumbled("541".to_owned()))
            }
            Fault::Silent => std::future::pending().await,
            Fault::Missing => Err(TopologyError::Missing("404".to_owned())),
            Fault::Lost => Err(TopologyError::Failed("the socket is closed".to_owned())),
        }
    }

    fn give_up(&self, _: &str) {
        self.given_up.cancel();
    }

    fn has_ended(&self) -> bool {
        self.given_up.is_cancelled()
    }
}

fn lanes(at_start: TopologyAtStart, avoided: &Avoided) -> Lanes {
    Lanes::new(Arc::new(Topology::new("postrider", QueueLimits::default())), at_start, avoided.clone())
}

/// One lane and its longer neighbours: more than are tried in the place of one.
fn neighbours() -> Vec<Lane> {
    Lane::all().skip(10).take(2 + LONGER).collect()
}

fn small(lane: Lane) -> LaneQueue {
    LaneQueue { lane, load: Load::Small }
}

fn soon() -> Instant {
    Instant::now() + Duration::from_secs(10)
}

#[tokio::test(start_paused = true)]
async fn a_lane_that_the_broker_stumbles_over_is_avoided_and_a_neighbour_that_waited_is_not() {
    let avoided = Avoided::default();
    let all = neighbours();
    let [bad, innocent @ ..] = all.as_slice() else { panic!("there are some") };
    let broken = Broken::over(*bad, Fault::Stumbles);
    let used = lanes(TopologyAtStart::Declare, &avoided);
    let asked = all.iter().map(|lane| used.ready_on(&broken, small(*lane), soon()));
    for answer in join_all(asked).await {
        assert!(answer.is_err(), "the connection is lost: {answer:?}");
    }
    assert!(avoided.contains(*bad));
    for lane in innocent {
        assert!(!avoided.contains(*lane), "{lane:?} only waited");
    }

    // On the next connection.
    let broken = Broken::over(*bad, Fault::Stumbles);
    let used = lanes(TopologyAtStart::Declare, &avoided);
    for lane in innocent {
        assert_eq!(used.ready_on(&broken, small(*lane), soon()).await, Ok(small(*lane)));
    }
    assert_eq!(used.ready_on(&broken, small(*bad), soon()).await, Ok(small(innocent[0])));
    assert!(!broken.ended.is_cancelled(), "it is not asked for again");
}

#[tokio::test(start_paused = true)]
async fn a_lane_that_waits_behind_a_silent_one_is_not_taken_for_silent() {
    let avoided = Avoided::default();
    let all = neighbours();
    let [bad, .., far] = all.as_slice() else { panic!("there are some") };
    let broken = Broken::over(*bad, Fault::Silent);
    let used = lanes(TopologyAtStart::Declare, &avoided);
    // Many want the silent one: each of them may not cost the others a whole patience.
    let asked = [*bad, *far, *bad, *bad, *bad, *bad, *bad];
    let asked = asked.map(|lane| used.ready_on(&broken, small(lane), Instant::now() + PATIENCE * 3));
    let answers = join_all(asked).await;
    assert_eq!(answers[1], Ok(small(*far)));
    for answer in answers {
        assert!(answer.is_ok_and(|ready| ready.lane != *bad));
    }
    let blamed: Vec<_> = all.iter().filter(|lane| avoided.contains(**lane)).collect();
    assert_eq!(blamed, [bad]);
}

#[tokio::test(start_paused = true)]
async fn what_makes_a_missing_lane_is_told_of_a_missing_one_and_not_of_a_lost_connection() {
    const ADVICE: &str = "postrider topology declare";
    let lane = Lane::all().last().expect("there are some");
    for (by, is_advised) in [(Fault::Missing, true), (Fault::Lost, false), (Fault::Stumbles, false)] {
        let used = lanes(TopologyAtStart::Assume, &Avoided::default());
        let answer = used.ready_on(&Broken::over(lane, by), small(lane), soon()).await;
        let reason = answer.expect_err("there is no longer one");
        assert_eq!(reason.contains(ADVICE), is_advised, "{reason}");
    }
}

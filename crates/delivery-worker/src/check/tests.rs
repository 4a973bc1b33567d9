use std::sync::Mutex;

use async_trait::async_trait;
use postrider_contract::clock::{Day, Timestamp};
use postrider_contract::log::LogWrites;
use postrider_contract::ports::{OverdueDelivery, StoreError};

use super::*;

/// Knows the deliveries with an even id, and notes how many were asked about at once.
#[derive(Default)]
struct EvenLog {
    batches: Mutex<Vec<usize>>,
    mood: Mutex<Mood>,
}

#[derive(Clone, Copy, Default)]
enum Mood {
    #[default]
    Well,
    Failing,
    Silent,
}

#[async_trait]
impl DeliveryLog for EvenLog {
    async fn apply(&self, _: &LogWrites) -> Result<(), StoreError> {
        Ok(())
    }

    async fn is_recorded(&self, tries: &[(DeliveryId, Position)]) -> Result<Vec<bool>, StoreError> {
        self.batches.lock().unwrap().push(tries.len());
        let mood = *self.mood.lock().unwrap();
        match mood {
            Mood::Well => Ok(tries.iter().map(|(id, _)| id.as_u128() % 2 == 0).collect()),
            Mood::Failing => Err(StoreError::Unavailable { reason: "away".to_owned() }),
            Mood::Silent => std::future::pending().await,
        }
    }

    async fn has_moved_on(&self, _: DeliveryId, _: Position) -> Result<bool, StoreError> {
        Ok(false)
    }

    async fn overdue(&self, _: Timestamp, _: u32) -> Result<Vec<OverdueDelivery>, StoreError> {
        Ok(Vec::new())
    }

    async fn prepare_days(&self, _: Day, _: Day) -> Result<(), StoreError> {
        Ok(())
    }

    async fn first_day(&self) -> Result<Option<Day>, StoreError> {
        Ok(None)
    }

    async fn drop_days_before(&self, _: Day) -> Result<Vec<Day>, StoreError> {
        Ok(Vec::new())
    }

    async fn drop_bodies_before(&self, _: Day) -> Result<Vec<Day>, StoreError> {
        Ok(Vec::new())
    }
}

async fn ask(checker: &Checker, id: u128) -> Recorded {
    checker.is_recorded(DeliveryId::from_u128(id), Position::START).await
}

#[tokio::test(start_paused = true)]
async fn questions_that_come_together_are_one_statement_and_each_gets_its_answer() {
    let log = Arc::new(EvenLog::default());
    let checker = Checker::start(Arc::clone(&log) as Arc<dyn DeliveryLog>);
    let answers = futures_util::future::join_all((0..100).map(|id| ask(&checker, id))).await;
    for (id, answer) in answers.into_iter().enumerate() {
        assert_eq!(answer, if id % 2 == 0 { Recorded::Yes } else { Recorded::No });
    }
    assert_eq!(*log.batches.lock().unwrap(), [100]);
}

#[tokio::test(start_paused = true)]
async fn a_store_that_fails_or_is_silent_stops_nobody_and_is_left_alone_for_a_while() {
    for mood in [Mood::Failing, Mood::Silent] {
        let log = Arc::new(EvenLog::default());
        *log.mood.lock().unwrap() = mood;
        let checker = Checker::start(Arc::clone(&log) as Arc<dyn DeliveryLog>);
        for _ in 0..50 {
            assert_eq!(ask(&checker, 2).await, Recorded::No);
        }
        assert_eq!(log.batches.lock().unwrap().len(), 1);
        *log.mood.lock().unwrap() = Mood::Well;
        tokio::time::advance(SKIP_FOR).await;
        assert_eq!(ask(&checker, 2).await, Recorded::Yes);
    }
}

#[tokio::test(start_paused = true)]
async fn a_silent_store_holds_each_try_up_for_its_bound_and_no_question_is_in_the_way_of_later_ones() {
    let log = Arc::new(EvenLog::default());
    *log.mood.lock().unwrap() = Mood::Silent;
    let checker = Checker::start(Arc::clone(&log) as Arc<dyn DeliveryLog>);
    for _ in 0..2 * MAX_UNDER_WAY {
        let began = Instant::now();
        assert_eq!(ask(&checker, 2).await, Recorded::No);
        assert_eq!(began.elapsed(), BOUND);
        tokio::time::advance(SKIP_FOR).await;
    }
    *log.mood.lock().unwrap() = Mood::Well;
    assert_eq!(ask(&checker, 2).await, Recorded::Yes);
}

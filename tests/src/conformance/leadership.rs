//! What leadership promises.

use super::{StoreUnderTest, eventually, soon};

const DUTY: &str = "conformance";

pub async fn one_process_leads_until_it_lets_go(engine: &mut dyn StoreUnderTest) {
    let here = engine.leadership();
    let lead = soon(here.try_lead(DUTY)).await.expect("it answers").expect("nobody else leads");
    assert!(lead.is_held());
    let Some(elsewhere) = engine.leadership_elsewhere().await else { return };
    assert!(soon(elsewhere.try_lead(DUTY)).await.expect("it answers").is_none());
    drop(lead);
    eventually(|| async { elsewhere.try_lead(DUTY).await.is_ok_and(|lead| lead.is_some()) }).await;
}

pub async fn duties_are_led_apart(engine: &mut dyn StoreUnderTest) {
    let here = engine.leadership();
    let one = soon(here.try_lead(DUTY)).await.expect("it answers").expect("nobody else leads");
    let two = soon(here.try_lead("another")).await.expect("it answers").expect("nobody else leads");
    drop(one);
    assert!(two.is_held());
    let Some(elsewhere) = engine.leadership_elsewhere().await else { return };
    assert!(soon(elsewhere.try_lead("another")).await.expect("it answers").is_none());
    drop(two);
}

#[macro_export]
macro_rules! leadership_promises {
    ($start:ident) => {
        $crate::promises! {
            $start,
            leadership:
            one_process_leads_until_it_lets_go,
            duties_are_led_apart,
        }
    };
}

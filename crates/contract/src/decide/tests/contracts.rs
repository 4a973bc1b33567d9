//! What each of the six contracts promises of tries, written down from the contracts and never read from a profile's
//! file; and deliveries driven through all of it on a clock that nothing but their own waits moves.

use super::*;
use crate::clock::{Clock, ManualClock};
use crate::profile::PausedRule;

/// One contract, as its receivers know it. Every 2xx is a success and a try has 10 s, in all of them.
pub(super) struct Contract {
    pub(super) profile: &'static str,
    /// Between the tries, in seconds.
    pub(super) waits: &'static [u64],
    /// By which fraction chance may move a wait.
    jitter: f64,
    /// Which answers that are no success end a delivery at once.
    ends: fn(u16) -> bool,
    /// With which answers `Retry-After` is obeyed.
    obeys: &'static [u16],
    /// Which answers disable the webhook.
    disables: &'static [u16],
    disabled_after_days: Option<u64>,
    paused: PausedRule,
}

/// 5 s, 5 m, 30 m, 2 h, 5 h, 10 h, 14 h, 20 h, 24 h: some three days.
const STANDARD: &[u64] = &[5, 300, 1_800, 7_200, 18_000, 36_000, 50_400, 72_000, 86_400];

const TRACKDESK: Contract = Contract {
    profile: "trackdesk",
    waits: STANDARD,
    jitter: 0.1,
    ends: |_| false,
    obeys: &[429, 503],
    disables: &[],
    disabled_after_days: None,
    paused: PausedRule::Hold,
};

pub(super) const CONTRACTS: [Contract; 6] = [
    Contract {
        profile: "standard",
        ends: |status| status == 410,
        disables: &[410],
        disabled_after_days: Some(5),
        ..TRACKDESK
    },
    Contract {
        profile: "trcker",
        // Six retries, so seven requests.
        waits: &[1, 5, 30, 300, 1_800, 7_200],
        jitter: 0.0,
        obeys: &[],
        ..TRACKDESK
    },
    TRACKDESK,
    Contract {
        profile: "trakkr",
        waits: &[1, 2, 4],
        jitter: 0.0,
        ends: is_neither_429_nor_5xx,
        obeys: &[429],
        ..TRACKDESK
    },
    Contract {
        profile: "track360",
        // 30 s, 2 m, 10 m, 1 h, 4 h.
        waits: &[30, 120, 600, 3_600, 14_400],
        jitter: 0.0,
        ends: is_neither_429_nor_5xx,
        obeys: &[429],
        ..TRACKDESK
    },
    Contract { profile: "tracktile", paused: PausedRule::Skip, ..TRACKDESK },
];

fn is_neither_429_nor_5xx(status: u16) -> bool {
    status != 429 && !(500..=599).contains(&status)
}

impl Contract {
    fn compiled(&self) -> std::sync::Arc<CompiledProfile> {
        builtin_profile(&self.profile.parse().expect("a name")).expect("built in")
    }

    fn waits(&self) -> Vec<Duration> {
        self.waits.iter().copied().map(seconds).collect()
    }
}

fn start() -> Timestamp {
    "2026-11-21T12:00:00.000Z".parse().expect("a time")
}

/// Every status line there can be, a success or not.
fn statuses() -> impl Iterator<Item = u16> {
    100..=599
}

fn is_success(status: u16) -> bool {
    (200..=299).contains(&status)
}

/// A delivery whose every try ends with `result`: how long it waited after each, and how it ended.
fn driven(contract: &Contract, result: &AttemptResult, jitter: Jitter) -> (Vec<Duration>, Outcome) {
    let (profile, overrides) = (contract.compiled(), ProfileOverride::default());
    let rules = DeliveryRules::new(&profile, &overrides);
    let clock = ManualClock::at(start());
    let (mut number, mut waited) = (AttemptNumber::FIRST, Vec::new());
    loop {
        let now = clock.now();
        match decide(result, number, &rules, now, jitter) {
            Outcome::Retry { at, .. } => {
                waited.push(at.since(now));
                assert!(waited.len() <= contract.waits.len(), "{}: a try too many", contract.profile);
                clock.set(at);
                number = number.next();
            }
            outcome @ (Outcome::Delivered
            | Outcome::Failed { .. }
            | Outcome::Held { .. }
            | Outcome::Canceled { .. }
            | Outcome::Expired) => {
                assert_eq!(clock.now(), start().plus(waited.iter().sum()));
                return (waited, outcome);
            }
        }
    }
}

#[test]
fn each_profile_waits_as_its_contract_says_after_every_kind_of_failure_and_then_has_failed() {
    for contract in &CONTRACTS {
        let silent = FailureClass::ALL.map(|class| (no_answer(class), Cause::Failure(class)));
        let retried = statuses().filter(|status| !is_success(*status) && !(contract.ends)(*status));
        let answered = retried.map(|status| (answer(status), Cause::Status(status)));
        for (result, cause) in silent.into_iter().chain(answered) {
            let (waited, end) = driven(contract, &result, Jitter::NONE);
            assert_eq!(waited, contract.waits(), "{} {cause:?}", contract.profile);
            let exhausted = Outcome::Failed { reason: FailureReason::Exhausted, cause: Some(cause) };
            assert_eq!(end, exhausted, "{}", contract.profile);
        }
    }
}

#[test]
fn each_profile_ends_a_delivery_at_once_with_what_its_contract_says_and_nothing_else() {
    for contract in &CONTRACTS {
        for status in statuses() {
            let (waited, end) = driven(contract, &answer(status), Jitter::NONE);
            let place = format!("{} {status}", contract.profile);
            if is_success(status) {
                assert_eq!((waited.len(), end), (0, Outcome::Delivered), "{place}");
            } else if (contract.ends)(status) {
                let cause = Some(Cause::Status(status));
                let permanent = Outcome::Failed { reason: FailureReason::Permanent, cause };
                assert_eq!((waited.len(), end), (0, permanent), "{place}");
            } else {
                assert_eq!(waited.len(), contract.waits.len(), "{place}");
            }
        }
    }
}

#[test]
fn chance_moves_waits_only_where_the_contract_lets_it_and_only_so_far() {
    for contract in &CONTRACTS {
        let mut first_waits = Vec::new();
        for draw in [0.0, 0.25, 0.75, 1.0] {
            let (waited, _) = driven(contract, &answer(500), Jitter::new(draw));
            assert_eq!(waited.len(), contract.waits.len());
            for (wait, planned) in waited.iter().zip(contract.waits()) {
                let (least, most) =
                    (planned.mul_f64(1.0 - contract.jitter), planned.mul_f64(1.0 + contract.jitter));
                let grain = Duration::from_millis(1);
                let is_within = *wait + grain >= least && *wait <= most + grain;
                assert!(is_within, "{}: {wait:?} for {planned:?}", contract.profile);
                assert!(*wait <= seconds(86_400), "{}: longer than a lane", contract.profile);
            }
            first_waits.push(waited[0]);
        }
        first_waits.dedup();
        let is_moved = first_waits.len() == 4;
        assert_eq!(is_moved, contract.jitter > 0.0, "{}: {first_waits:?}", contract.profile);
    }
}

/// What a receiver may say, and the seconds it is left alone for; `None` where that is no wish.
const WISHES: [(&str, Option<u64>); 19] = [
    ("77", Some(77)),
    (" 77 ", Some(77)),
    ("0", Some(1)),
    ("86400", Some(86_400)),
    ("86401", Some(86_400)),
    ("1000000000000", Some(86_400)),
    ("99999999999999999999999999999999", Some(86_400)),
    ("Sat, 21 Nov 2026 12:02:00 GMT", Some(120)),
    ("Saturday, 21-Nov-26 12:02:00 GMT", Some(120)),
    ("Sat Nov 21 12:02:00 2026", Some(120)),
    ("Sat, 21 Nov 2026 11:00:00 GMT", Some(1)),
    ("Fri, 31 Dec 9999 23:59:59 GMT", Some(86_400)),
    ("1e12", None),
    ("-1", None),
    ("+1", None),
    ("1.5", None),
    ("soon", None),
    ("", None),
    ("Sat, 31 Feb 2026 12:00:00 GMT", None),
];

#[test]
fn retry_after_is_obeyed_within_bounds_where_the_contract_says_so_and_adds_no_try() {
    for contract in &CONTRACTS {
        let (profile, overrides) = (contract.compiled(), ProfileOverride::default());
        let rules = DeliveryRules::new(&profile, &overrides);
        for status in [429, 500, 502, 503, 504] {
            for (value, wish) in WISHES {
                let wish = wish.filter(|_| contract.obeys.contains(&status));
                let result = answer_with(status, &[("Retry-After", value)]);
                for (tried, planned) in (1..).zip(contract.waits()) {
                    let number = AttemptNumber::from_number(tried).expect("not zero");
                    let at = start().plus(wish.map_or(planned, seconds));
                    assert_eq!(
                        decide(&result, number, &rules, start(), Jitter::NONE),
                        Outcome::Retry { at, cause: Cause::Status(status) },
                        "{} {status} {value:?} after try {tried}",
                        contract.profile
                    );
                }
                let (waited, end) = driven(contract, &result, Jitter::new(0.0));
                assert_eq!(waited.len(), contract.waits.len(), "{} {status} {value:?}", contract.profile);
                assert!(matches!(end, Outcome::Failed { reason: FailureReason::Exhausted, .. }));
            }
        }
    }
}

#[test]
fn of_several_wishes_the_first_counts_and_one_that_is_no_text_is_none() {
    let contract = &CONTRACTS[0];
    let twice = answer_with(429, &[("retry-after", "7"), ("Retry-After", "9")]);
    assert_eq!(driven(contract, &twice, Jitter::NONE).0, vec![seconds(7); contract.waits.len()]);
    let AttemptResult::Response(mut response) = answer_with(429, &[("Retry-After", "7")]) else {
        panic!("an answer")
    };
    response.headers[0].value = Bytes::from_static(b"7\xff");
    let (waited, _) = driven(contract, &AttemptResult::Response(response), Jitter::NONE);
    assert_eq!(waited, contract.waits());
}

#[test]
fn each_profile_has_the_time_limit_the_disabling_and_the_pause_of_its_contract() {
    for contract in &CONTRACTS {
        let (profile, overrides) = (contract.compiled(), ProfileOverride::default());
        assert_eq!(profile.time_limit(&overrides), seconds(10), "{}", contract.profile);
        let rules = DeliveryRules::new(&profile, &overrides);
        for status in statuses() {
            let expected = contract.disables.contains(&status);
            assert_eq!(disables(&answer(status), &rules), expected, "{} {status}", contract.profile);
        }
        for class in FailureClass::ALL {
            assert!(!disables(&no_answer(class), &rules), "{} {class:?}", contract.profile);
        }
        let rule = &profile.definition().webhook;
        let days = contract.disabled_after_days.map(|days| seconds(days * 86_400));
        assert_eq!(rule.disable_after_failing_for.map(|span| span.duration()), days, "{}", contract.profile);
        assert_eq!(rule.paused, contract.paused, "{}", contract.profile);
    }
}

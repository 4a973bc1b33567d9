//! A value against a schema, within what a check may take.

use std::collections::{BTreeMap, HashSet};

use super::canonical::canonical;
use super::keyword::{Counted, Dependent, Keyword, Place, Side, Subschema, ValueType};
use super::text_pattern::TextPattern;
use super::{MAX_LEVELS, MAX_MATCHED_BYTES, MAX_STEPS, MAX_VIOLATIONS, Violation};
use crate::json::{Decimal, Members, Node, pointer_step};

/// Bytes that are compared or counted in one step.
const BYTES_PER_STEP: usize = 16;

pub(super) fn check(subschemas: &[Subschema], data: &Node<'_>) -> Vec<Violation> {
    let mut check = Check {
        subschemas,
        steps: 0,
        matched_bytes: 0,
        levels: 0,
        is_over: false,
        pointer: String::new(),
        trials: 0,
        found: Vec::new(),
    };
    check.holds(Place(0), data);
    if check.is_over {
        let detail = "takes more work to check against its schema than is done for one event".to_owned();
        return vec![Violation { pointer: String::new(), detail }];
    }
    check.found
}

struct Check<'s> {
    subschemas: &'s [Subschema],
    steps: usize,
    matched_bytes: usize,
    levels: usize,
    /// It cannot be finished: whatever is answered from then on counts for nothing.
    is_over: bool,
    /// Where the value stands that is looked at.
    pointer: String,
    /// Within how many alternatives, of which nothing is told.
    trials: usize,
    found: Vec<Violation>,
}

impl<'s> Check<'s> {
    fn holds(&mut self, place: Place, node: &Node<'_>) -> bool {
        self.spend(1);
        if self.levels >= MAX_LEVELS {
            self.is_over = true;
        }
        if self.is_over {
            return false;
        }
        self.levels += 1;
        let mut holds = true;
        let subschemas = self.subschemas;
        for keyword in &subschemas[place.0] {
            holds &= self.keyword_holds(keyword, node);
            if self.is_over || !holds && self.trials > 0 {
                break;
            }
        }
        self.levels -= 1;
        holds
    }

    fn spend(&mut self, steps: usize) {
        self.steps = self.steps.saturating_add(steps);
        self.is_over |= self.steps > MAX_STEPS;
    }

    /// Tells of something that is wrong. Always false.
    fn broken(&mut self, detail: impl FnOnce() -> String) -> bool {
        if self.trials == 0 && self.found.len() < MAX_VIOLATIONS {
            self.found.push(Violation { pointer: self.pointer.clone(), detail: detail() });
        }
        false
    }

    fn ensure(&mut self, holds: bool, detail: impl FnOnce() -> String) -> bool {
        holds || self.broken(detail)
    }

    /// Whether it holds, and not a word of why.
    fn would_hold(&mut self, place: Place, node: &Node<'_>) -> bool {
        self.trials += 1;
        let holds = self.holds(place, node);
        self.trials -= 1;
        holds
    }

    fn holds_below(&mut self, step: &[u8], place: Place, node: &Node<'_>) -> bool {
        let length = self.pointer.len();
        self.pointer.push('/');
        self.pointer.push_str(&pointer_step(&String::from_utf8_lossy(step)));
        let holds = self.holds(place, node);
        self.pointer.truncate(length);
        holds
    }

    fn keyword_holds(&mut self, keyword: &'s Keyword, node: &Node<'_>) -> bool {
        match keyword {
            Keyword::Never => self.broken(|| "is not allowed here".to_owned()),
            Keyword::Reference(place) => self.holds(*place, node),
            Keyword::AllOf(places) => self.all_hold(places, node),
            Keyword::AnyOf(places) => {
                let holds = places.iter().any(|place| self.would_hold(*place, node));
                self.ensure(holds, || format!("is none of the {} forms it may have", places.len()))
            }
            Keyword::OneOf(places) => self.exactly_one_holds(places, node),
            Keyword::Not(place) => {
                let holds = !self.would_hold(*place, node);
                self.ensure(holds, || "has a form that it must not have".to_owned())
            }
            Keyword::If { condition, then, otherwise } => {
                let is_met = self.would_hold(*condition, node);
                let place = if is_met { then } else { otherwise };
                place.is_none_or(|place| self.holds(place, node))
            }
            Keyword::Type(types) => self.type_holds(types, node),
            Keyword::OneOfValues { canonical: allowed, shown } => {
                let found = self.canonical(node);
                let what = if allowed.len() == 1 { "must be" } else { "must be one of" };
                self.ensure(allowed.contains(&found), || format!("{what} {shown}"))
            }
            Keyword::Limit { side, limit } => self.limit_holds(*side, limit, node),
            Keyword::MultipleOf { divisor, shown } => {
                let Node::Number(text) = node else { return true };
                let holds = Decimal::parse(text).is_some_and(|number| number.is_multiple_of(*divisor));
                self.ensure(holds, || format!("must be a multiple of {shown}"))
            }
            Keyword::Count { counted, least, most } => self.count_holds(*counted, *least, *most, node),
            Keyword::Pattern(pattern) => {
                let Node::String(text) = node else { return true };
                let holds = self.matches(pattern, text);
                self.ensure(holds, || format!("must match {}", pattern.as_str()))
            }
            Keyword::Items { first, rest } => self.items_hold(first, *rest, node),
            Keyword::Contains { item, least, most } => self.contains_holds(*item, *least, *most, node),
            Keyword::UniqueItems => self.items_are_unique(node),
            Keyword::Members { named, matching, rest } => {
                let Node::Object(members) = node else { return true };
                self.members_hold(members, named, matching, *rest)
            }
            Keyword::MemberNames(place) => self.names_hold(*place, node),
            Keyword::Required(names) => self.are_there(names, node, ""),
            Keyword::DependentRequired(dependent) => self.dependent_are_there(dependent, node),
            Keyword::DependentSchemas(dependent) => self.dependent_hold(dependent, node),
        }
    }

    fn all_hold(&mut self, places: &[Place], node: &Node<'_>) -> bool {
        let mut holds = true;
        for place in places {
            holds &= self.holds(*place, node);
        }
        holds
    }

    fn exactly_one_holds(&mut self, places: &[Place], node: &Node<'_>) -> bool {
        let mut count = 0;
        for place in places {
            count += usize::from(self.would_hold(*place, node));
            if count > 1 {
                return self.broken(|| "has more than one of the forms of which it may have one".to_owned());
            }
        }
        self.ensure(count == 1, || format!("is none of the {} forms it may have", places.len()))
    }

    fn type_holds(&mut self, types: &[ValueType], node: &Node<'_>) -> bool {
        let found = ValueType::of(node);
        let holds = types.iter().any(|wanted| match (wanted, node) {
            (ValueType::Integer, Node::Number(text)) => is_whole(text),
            (wanted, _) => *wanted == found,
        });
        self.ensure(holds, || {
            let wanted: Vec<&str> = types.iter().map(|one| one.as_str()).collect();
            format!("must be of type {}, not {}", wanted.join(" or "), found.as_str())
        })
    }

    fn limit_holds(&mut self, side: Side, limit: &str, node: &Node<'_>) -> bool {
        let Node::Number(text) = node else { return true };
        let (Some(number), Some(bound)) = (Decimal::parse(text), Decimal::parse(limit)) else {
            return self.broken(|| "has too many digits to be compared".to_owned());
        };
        let (holds, words) = match side {
            Side::AtLeast => (number >= bound, "at least"),
            Side::MoreThan => (number > bound, "more than"),
            Side::AtMost => (number <= bound, "at most"),
            Side::LessThan => (number < bound, "less than"),
        };
        self.ensure(holds, || format!("must be {words} {limit}"))
    }

    fn count_holds(&mut self, counted: Counted, least: usize, most: usize, node: &Node<'_>) -> bool {
        let (count, what) = match (counted, node) {
            (Counted::Characters, Node::String(text)) => {
                self.spend(text.len() / BYTES_PER_STEP);
                (text.iter().filter(|byte| !is_continuation(**byte)).count(), "characters")
            }
            (Counted::Items, Node::Array(items)) => (items.len(), "items"),
            (Counted::Members, Node::Object(members)) => (members.iter().count(), "members"),
            _ => return true,
        };
        self.ensure((least..=most).contains(&count), || match most {
            usize::MAX => format!("must have at least {least} {what}, not {count}"),
            most => format!("must have at most {most} {what}, not {count}"),
        })
    }

    fn matches(&mut self, pattern: &TextPattern, text: &[u8]) -> bool {
        self.matched_bytes = self.matched_bytes.saturating_add(text.len());
        self.is_over |= self.matched_bytes > MAX_MATCHED_BYTES;
        !self.is_over && pattern.is_match(text)
    }

    fn canonical(&mut self, node: &Node<'_>) -> Vec<u8> {
        let form = canonical(node);
        self.spend(form.len() / BYTES_PER_STEP);
        form
    }

    fn items_hold(&mut self, first: &[Place], rest: Option<Place>, node: &Node<'_>) -> bool {
        let Node::Array(items) = node else { return true };
        let mut holds = true;
        for (index, item) in items.iter().enumerate() {
            let Some(place) = first.get(index).copied().or(rest) else { break };
            holds &= self.holds_below(index.to_string().as_bytes(), place, item);
            if self.is_over {
                break;
            }
        }
        holds
    }

    fn contains_holds(&mut self, wanted: Place, least: usize, most: usize, node: &Node<'_>) -> bool {
        let Node::Array(items) = node else { return true };
        let count = items.iter().filter(|item| self.would_hold(wanted, item)).count();
        self.ensure((least..=most).contains(&count), || match most {
            usize::MAX => format!("must hold at least {least} items of a certain form, not {count}"),
            most => format!("must hold {least} to {most} items of a certain form, not {count}"),
        })
    }

    fn items_are_unique(&mut self, node: &Node<'_>) -> bool {
        let Node::Array(items) = node else { return true };
        let mut seen = HashSet::with_capacity(items.len());
        for (index, item) in items.iter().enumerate() {
            let form = self.canonical(item);
            if self.is_over {
                return false;
            }
            if !seen.insert(form) {
                return self.broken(|| format!("must not hold an item twice; item {index} is there before"));
            }
        }
        true
    }

    fn members_hold(
        &mut self,
        members: &Members<'_>,
        named: &BTreeMap<Vec<u8>, Place>,
        matching: &[(TextPattern, Place)],
        rest: Option<Place>,
    ) -> bool {
        let mut holds = true;
        for (name, value) in members.iter() {
            let mut is_known = false;
            if let Some(place) = named.get(name) {
                is_known = true;
                holds &= self.holds_below(name, *place, value);
            }
            for (pattern, place) in matching {
                if self.matches(pattern, name) {
                    is_known = true;
                    holds &= self.holds_below(name, *place, value);
                }
            }
            if let (false, Some(place)) = (is_known, rest) {
                holds &= self.holds_below(name, place, value);
            }
            if self.is_over {
                break;
            }
        }
        holds
    }

    fn names_hold(&mut self, place: Place, node: &Node<'_>) -> bool {
        let Node::Object(members) = node else { return true };
        let mut holds = true;
        for (name, _) in members.iter() {
            if !self.would_hold(place, &Node::of_name(name)) {
                holds = self.broken(|| format!("has a member whose name is wrong: {}", shown(name)));
            }
        }
        holds
    }

    fn are_there(&mut self, names: &[Vec<u8>], node: &Node<'_>, why: &str) -> bool {
        let Node::Object(members) = node else { return true };
        self.spend(names.len());
        let mut holds = true;
        for name in names {
            let is_there = members.last_named(name).is_some();
            holds &= self.ensure(is_there, || format!("must have {}{why}", shown(name)));
        }
        holds
    }

    fn dependent_are_there(&mut self, dependent: &[Dependent], node: &Node<'_>) -> bool {
        let Node::Object(members) = node else { return true };
        let mut holds = true;
        for (name, names) in dependent {
            if members.last_named(name).is_some() {
                holds &= self.are_there(names, node, &format!(" beside {}", shown(name)));
            }
        }
        holds
    }

    fn dependent_hold(&mut self, dependent: &[(Vec<u8>, Place)], node: &Node<'_>) -> bool {
        let Node::Object(members) = node else { return true };
        let mut holds = true;
        for (name, place) in dependent {
            if members.last_named(name).is_some() {
                holds &= self.holds(*place, node);
            }
        }
        holds
    }
}

fn shown(name: &[u8]) -> String {
    let name: String = String::from_utf8_lossy(name).chars().take(100).collect();
    format!("{name:?}")
}

/// What is too long to be read as a number is whole if it is written so.
fn is_whole(text: &str) -> bool {
    match Decimal::parse(text) {
        Some(number) => number.is_whole(),
        None => !text.contains(['.', 'e', 'E']),
    }
}

/// Of UTF-8: every character has one byte that is none.
fn is_continuation(byte: u8) -> bool {
    byte & 0b1100_0000 == 0b1000_0000
}

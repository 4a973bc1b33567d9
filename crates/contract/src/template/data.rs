//! Values of an event's data, found by their paths in one reading, as the bytes they came in.

use std::fmt;

use serde::Deserializer;
use serde::de::{DeserializeSeed, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

/// Elements of an array are found by their number up to this one.
const LAST_INDEX: usize = 999;

/// What is asked for at one place of the data, and below it.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Wanted {
    /// The number under which the value itself is found.
    slot: Option<usize>,
    /// By name, in order of the bytes.
    members: Vec<WantedMember>,
}

#[derive(Debug, PartialEq)]
struct WantedMember {
    name: Box<str>,
    /// The same name as the number of an element.
    index: Option<usize>,
    wanted: Wanted,
}

impl Wanted {
    /// Asks for the value at the end of a path. `next` is the number it gets if it was not asked for before.
    pub(super) fn ask(&mut self, steps: &[String], next: usize) -> usize {
        let Some((name, rest)) = steps.split_first() else {
            return *self.slot.get_or_insert(next);
        };
        let place = match self.place(name.as_bytes()) {
            Ok(place) => place,
            Err(place) => {
                let member = WantedMember {
                    name: name.as_str().into(),
                    index: element_number(name),
                    wanted: Wanted::default(),
                };
                self.members.insert(place, member);
                place
            }
        };
        self.members[place].wanted.ask(rest, next)
    }

    fn place(&self, name: &[u8]) -> Result<usize, usize> {
        self.members.binary_search_by(|member| member.name.as_bytes().cmp(name))
    }

    fn member(&self, name: &[u8]) -> Option<&Wanted> {
        self.place(name).ok().map(|place| &self.members[place].wanted)
    }

    fn element(&self, index: usize) -> Option<&Wanted> {
        let is_it = |member: &&WantedMember| member.index == Some(index);
        self.members.iter().find(is_it).map(|member| &member.wanted)
    }

    /// The values that are there, by their numbers. Of members with the same name, the last one counts.
    pub(super) fn find<'d>(&self, data: &'d str, slots: usize) -> Vec<Option<&'d str>> {
        let mut found = vec![None; slots];
        self.take(data, &mut found);
        found
    }

    fn take<'d>(&self, value: &'d str, found: &mut [Option<&'d str>]) {
        if let Some(slot) = self.slot {
            found[slot] = Some(value);
        }
        if self.members.is_empty() {
            return;
        }
        let mut read = serde_json::Deserializer::from_str(value);
        let inside = Inside { wanted: self, found };
        // The data was read as JSON when the event came; what could not be read now would not be found.
        let _: Option<()> = match value.as_bytes().first() {
            Some(b'{') => read.deserialize_map(inside).ok(),
            Some(b'[') => read.deserialize_seq(inside).ok(),
            Some(_) | None => None,
        };
    }

    /// Forgets what an earlier member of the same name held.
    fn forget(&self, found: &mut [Option<&str>]) {
        if let Some(slot) = self.slot {
            found[slot] = None;
        }
        for member in &self.members {
            member.wanted.forget(found);
        }
    }
}

/// `0`, `1`, … without leading zeros.
fn element_number(name: &str) -> Option<usize> {
    let number: usize = name.parse().ok().filter(|number| *number <= LAST_INDEX)?;
    (name == number.to_string()).then_some(number)
}

/// The members of an object, or the elements of an array, that are asked for.
struct Inside<'w, 'f, 'd> {
    wanted: &'w Wanted,
    found: &'f mut [Option<&'d str>],
}

impl<'de> Inside<'_, '_, 'de> {
    fn take(&mut self, wanted: &Wanted, value: &'de RawValue) {
        wanted.forget(self.found);
        wanted.take(value.get(), self.found);
    }
}

impl<'de> Visitor<'de> for Inside<'_, '_, 'de> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object or an array")
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut members: A) -> Result<(), A::Error> {
        let wanted = self.wanted;
        while let Some(asked) = members.next_key_seed(Name { wanted })? {
            match asked {
                Some(asked) => {
                    let value = members.next_value::<&RawValue>()?;
                    self.take(asked, value);
                }
                None => {
                    members.next_value::<IgnoredAny>()?;
                }
            }
        }
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(mut self, mut elements: A) -> Result<(), A::Error> {
        let wanted = self.wanted;
        let last = wanted.members.iter().filter_map(|member| member.index).max();
        for index in 0..=last.unwrap_or_default() {
            let asked = last.and_then(|_| wanted.element(index));
            let Some(asked) = asked else {
                if elements.next_element::<IgnoredAny>()?.is_none() {
                    return Ok(());
                }
                continue;
            };
            let Some(value) = elements.next_element::<&RawValue>()? else { return Ok(()) };
            self.take(asked, value);
        }
        while elements.next_element::<IgnoredAny>()?.is_some() {}
        Ok(())
    }
}

/// A member's name as bytes, since JSON may hold escapes that are no Unicode text (a lone surrogate).
struct Name<'w> {
    wanted: &'w Wanted,
}

impl<'de, 'w> DeserializeSeed<'de> for Name<'w> {
    type Value = Option<&'w Wanted>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_bytes(self)
    }
}

impl<'w> Visitor<'_> for Name<'w> {
    type Value = Option<&'w Wanted>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a member's name")
    }

    fn visit_bytes<E: Error>(self, name: &[u8]) -> Result<Self::Value, E> {
        Ok(self.wanted.member(name))
    }

    fn visit_str<E: Error>(self, name: &str) -> Result<Self::Value, E> {
        Ok(self.wanted.member(name.as_bytes()))
    }
}

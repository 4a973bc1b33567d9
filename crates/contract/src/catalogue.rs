//! Catalogues: which types of event a tenant may rely on, what each carries, and in which versions.
//!
//! Three lie on top of each other: the built-in one that the tenant's profile names, the installation's own, and the
//! tenant's own. Of one major of a type the uppermost description counts, so that an operator may add a major to a
//! built-in type, or describe one anew.

mod builtin;
mod definition;
mod judgement;

use std::collections::BTreeMap;
use std::sync::Arc;

pub use builtin::{builtin_catalogue, builtin_catalogue_names};
pub use definition::{
    EventTypeDefinition, InvalidMajor, MAX_EXAMPLE_BYTES, MAX_MAJORS, MAX_TYPES, Major, WrittenMajor,
};
pub use judgement::SchemaCheck;

use crate::event::EventType;

/// Where a description comes from, from the lowest to the uppermost.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum CatalogueSource {
    /// A part of the program, by the tenant's profile.
    Builtin,
    /// The admin's, for every tenant.
    Installation,
    Tenant,
}

impl CatalogueSource {
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            CatalogueSource::Builtin => "builtin",
            CatalogueSource::Installation => "installation",
            CatalogueSource::Tenant => "tenant",
        }
    }
}

/// One major of a type, and who described it.
#[derive(Clone, Debug)]
pub struct KnownMajor {
    pub major: Arc<Major>,
    pub source: CatalogueSource,
}

/// A type of event with its majors, the lowest first; at least one.
#[derive(Clone, Debug)]
pub struct KnownType {
    majors: Vec<KnownMajor>,
}

impl KnownType {
    pub fn majors(&self) -> impl Iterator<Item = &KnownMajor> {
        self.majors.iter()
    }

    /// `None` for one that nobody has described.
    #[must_use]
    pub fn major(&self, number: u16) -> Option<&KnownMajor> {
        self.majors.iter().find(|known| known.major.version().major == number)
    }

    /// The highest, by which the type is described.
    #[must_use]
    pub fn newest(&self) -> Option<&KnownMajor> {
        self.majors.last()
    }

    fn put(&mut self, known: KnownMajor) {
        let number = known.major.version().major;
        match self.majors.binary_search_by_key(&number, |one| one.major.version().major) {
            Ok(index) => self.majors[index] = known,
            Err(index) => self.majors.insert(index, known),
        }
    }
}

/// The types of one tenant, of one moment.
#[derive(Clone, Debug, Default)]
pub struct Catalogue {
    types: BTreeMap<EventType, KnownType>,
}

impl Catalogue {
    /// Puts one on top of what is there.
    pub fn put(&mut self, event_type: &EventType, major: Arc<Major>, source: CatalogueSource) {
        let known = self.types.entry(event_type.clone()).or_insert_with(|| KnownType { majors: Vec::new() });
        known.put(KnownMajor { major, source });
    }

    /// By name.
    pub fn types(&self) -> impl Iterator<Item = (&EventType, &KnownType)> {
        self.types.iter()
    }

    #[must_use]
    pub fn get(&self, event_type: &EventType) -> Option<&KnownType> {
        self.types.get(event_type)
    }
}

#[cfg(test)]
mod tests;

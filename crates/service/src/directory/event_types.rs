//! The types of event that tenants and the installation describe themselves, ready to be checked, and what they make
//! of the built-in catalogues.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use postrider_contract::catalogue::{
    Catalogue, CatalogueSource, EventTypeDefinition, Major, builtin_catalogue,
};
use postrider_contract::event::EventType;
use postrider_contract::ids::TenantId;
use postrider_contract::ports::ConfigRecord;

use crate::config_object::{UnreadableDocument, read_object};

/// Of one catalogue, with the majors that it describes.
type Described = BTreeMap<EventType, Vec<Arc<Major>>>;

#[derive(Default)]
pub(super) struct EventTypes {
    installation: Described,
    of_tenants: HashMap<TenantId, Described>,
}

impl EventTypes {
    pub(super) fn apply(&mut self, record: &ConfigRecord) -> Result<(), UnreadableDocument> {
        let Ok(event_type) = record.key.id.parse::<EventType>() else { return Ok(()) };
        let definition = read_object::<EventTypeDefinition>(record)?;
        let written = definition.map(|definition| definition.majors).unwrap_or_default();
        let mut majors = Vec::with_capacity(written.len());
        for one in written {
            match Major::new(one) {
                Ok(major) => majors.push(Arc::new(major)),
                Err(errors) => tracing::error!(
                    error = errors.first().map(tracing::field::display),
                    event.kind = %event_type,
                    "a stored description of an event type cannot be used and is left out"
                ),
            }
        }
        let described = match &record.key.tenant {
            Some(tenant) => self.of_tenants.entry(tenant.clone()).or_default(),
            None => &mut self.installation,
        };
        if majors.is_empty() {
            described.remove(&event_type);
        } else {
            described.insert(event_type, majors);
        }
        Ok(())
    }

    /// The built-in catalogue of that name, with the installation's and the tenant's own on top.
    pub(super) fn catalogue_of(&self, tenant: &TenantId, builtin: Option<&str>) -> Arc<Catalogue> {
        let builtin = builtin.and_then(builtin_catalogue);
        let own = self.of_tenants.get(tenant).filter(|own| !own.is_empty());
        match (builtin, own) {
            (Some(builtin), None) if self.installation.is_empty() => Arc::clone(builtin),
            (builtin, own) => {
                let mut catalogue = builtin.map(|builtin| Catalogue::clone(builtin)).unwrap_or_default();
                put_on_top(&mut catalogue, &self.installation, CatalogueSource::Installation);
                if let Some(own) = own {
                    put_on_top(&mut catalogue, own, CatalogueSource::Tenant);
                }
                Arc::new(catalogue)
            }
        }
    }

    pub(super) fn installation(&self) -> Catalogue {
        let mut catalogue = Catalogue::default();
        put_on_top(&mut catalogue, &self.installation, CatalogueSource::Installation);
        catalogue
    }
}

fn put_on_top(catalogue: &mut Catalogue, described: &Described, source: CatalogueSource) {
    for (event_type, majors) in described {
        for major in majors {
            catalogue.put(event_type, Arc::clone(major), source);
        }
    }
}

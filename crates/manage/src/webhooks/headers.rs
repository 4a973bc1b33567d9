//! A webhook's own headers, as a request writes them.

use std::collections::BTreeMap;

use postrider_contract::own_header::{check_header_name, check_header_value};
use postrider_contract::secret::Secret;
use postrider_contract::webhook::CustomHeader;
use postrider_service::problem::{FieldErrors, pointer_step};
use postrider_service::webhook_secrets::SecretPlace;

use super::apply::Sealing;

/// Together with the profile's headers well below the 8 KiB that common servers accept in all.
const MAX_HEADERS: usize = 20;

/// All of a webhook's own headers, sealed. What is wrong is noted by its name.
pub(super) fn read_headers(
    written: &BTreeMap<String, Secret>,
    sealing: &Sealing<'_>,
    errors: &mut FieldErrors,
) -> Vec<CustomHeader> {
    if written.len() > MAX_HEADERS {
        errors.add("/headers", format!("must be at most {MAX_HEADERS}"));
        return Vec::new();
    }
    let mut headers: Vec<CustomHeader> = Vec::with_capacity(written.len());
    for (text, value) in written {
        let pointer = format!("/headers/{}", pointer_step(text));
        let name = errors.check(&pointer, check_header_name(text));
        let value = errors.check(&pointer, check_header_value(value).map(|()| value));
        let (Some(name), Some(value)) = (name, value) else { continue };
        if headers.iter().any(|earlier| name.is(&earlier.name)) {
            errors.add(pointer, "is there twice: the case of a header's name does not matter");
            continue;
        }
        let value = sealing.seal(SecretPlace::Header(name.as_str()), value);
        headers.push(CustomHeader { name: name.as_str().to_owned(), value });
    }
    headers
}

//! The ids in a path, as an extractor. What cannot be an id, or is not even text, names something that is not there.

use axum::extract::{FromRequestParts, Path};
use http::request::Parts;
use serde::de::DeserializeOwned;

use crate::problem::Problem;

/// The ids in a path, parsed. Anything else answers the common 404.
#[derive(Clone, Copy, Debug)]
pub struct InPath<T>(pub T);

impl<T: DeserializeOwned + Send, S: Send + Sync> FromRequestParts<S> for InPath<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let read = Path::<T>::from_request_parts(parts, state).await;
        read.map(|Path(ids)| InPath(ids)).map_err(|_| Problem::not_found())
    }
}

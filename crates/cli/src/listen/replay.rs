//! Sends what came on to another server, as it came, and answers as that one does.

use std::str::FromStr;

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HOST, RETRY_AFTER};
use http::{Extensions, HeaderValue, Request, StatusCode, Uri};
use http_body_util::Full;
use postrider_contract::profile::is_framing_header;
use url::{Position, Url};

use super::answer::Answer;
use super::report::Received;
use crate::client::{ClientError, exchange};

/// Where requests are sent on to.
#[derive(Clone, Debug)]
pub(super) struct Replay {
    url: Url,
}

impl FromStr for Replay {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let url = Url::parse(text).map_err(|error| error.to_string())?;
        if !["http", "https"].contains(&url.scheme()) || url.host().is_none() {
            return Err("must be an http or https URL".to_owned());
        }
        Ok(Replay { url })
    }
}

impl Replay {
    pub(super) fn url(&self) -> &str {
        self.url.as_str()
    }

    /// The request again: method, headers and body as they came, signature and all. `case` is how the names of the
    /// headers were written, as the library that read them remembers it.
    ///
    /// # Errors
    /// Why there is no answer.
    pub(super) async fn send(&self, received: &Received, case: Extensions) -> Result<Answer, String> {
        let request = self.request(received, case)?;
        let response = exchange(&self.url, request).await.map_err(|error| why(&error))?;
        let (head, body) = response.into_parts();
        let mut answer = Answer::new(head.status, body);
        for name in [CONTENT_TYPE, RETRY_AFTER] {
            if let Some(value) = head.headers.get(&name) {
                answer.headers.insert(name, value.clone());
            }
        }
        Ok(answer)
    }

    /// To the URL's own path, or to the path that was asked for where the URL names none.
    fn request(&self, received: &Received, case: Extensions) -> Result<Request<Full<Bytes>>, String> {
        let own = &self.url[Position::BeforePath..Position::AfterQuery];
        let target = if own == "/" { received.target.as_str() } else { own };
        let target: Uri = target.parse().map_err(|_| "its path cannot be asked for".to_owned())?;
        let mut request = Request::new(Full::new(received.body.clone()));
        *request.method_mut() = received.method.clone();
        *request.uri_mut() = target;
        *request.extensions_mut() = case;
        let authority = &self.url[Position::BeforeHost..Position::AfterPort];
        let host = HeaderValue::from_str(authority).map_err(|_| "its host cannot be a header".to_owned())?;
        request.headers_mut().insert(HOST, host);
        for header in received.headers.iter().filter(|header| !is_framing_header(&header.name)) {
            let name = http::HeaderName::from_bytes(header.name.as_bytes());
            let value = HeaderValue::from_maybe_shared(header.value.clone());
            if let (Ok(name), Ok(value)) = (name, value) {
                request.headers_mut().append(name, value);
            }
        }
        Ok(request)
    }
}

/// In words that do not take the server for Postrider.
fn why(error: &ClientError) -> String {
    match error {
        ClientError::NotReachable { reason, .. } => format!("cannot be reached ({reason})"),
        ClientError::TimedOut { limit, .. } => format!("did not answer within {} s", limit.as_secs()),
        ClientError::NotPostrider { reason, .. } => format!("did not answer as HTTP has it ({reason})"),
        ClientError::Usage(_)
        | ClientError::Secret(_)
        | ClientError::Profile(_)
        | ClientError::UnknownProfile { .. }
        | ClientError::Capture(_)
        | ClientError::File { .. }
        | ClientError::Refused(_)
        | ClientError::NotWell(_)
        | ClientError::Output(_) => error.to_string(),
    }
}

/// What the sender is told where the other server did not answer.
pub(super) fn not_answered() -> Answer {
    Answer::new(StatusCode::BAD_GATEWAY, Bytes::new())
}

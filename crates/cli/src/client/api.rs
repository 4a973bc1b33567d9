//! The API as the commands see it: a path and a body in, an answer or a readable refusal out.

use bytes::Bytes;
use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HOST, RETRY_AFTER, USER_AGENT};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request};
use http_body_util::Full;
use serde::de::DeserializeOwned;
use serde_json::Value;
use url::Url;

use super::Connection;
use super::error::{ClientError, Credentials, Refusal};
use super::transport;

const TENANT: HeaderName = HeaderName::from_static("postrider-tenant");
const JSON: HeaderValue = HeaderValue::from_static("application/json");
const NDJSON: HeaderValue = HeaderValue::from_static("application/x-ndjson");

/// A server, and who calls it.
pub(super) struct Api {
    base: Url,
    key: Option<HeaderValue>,
    tenant: Option<String>,
}

/// One request, as the commands say it.
pub(super) struct Call {
    method: Method,
    /// Steps of the path after `/v1`; each is encoded for itself.
    path: Vec<String>,
    query: Vec<(&'static str, String)>,
    headers: HeaderMap,
    body: Option<Bytes>,
    tenant: TenantHeader,
}

/// Whether a request says for which tenant it acts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum TenantHeader {
    IfKnown,
    /// What belongs to the whole installation.
    Without,
}

impl Call {
    pub(super) fn new<'p>(method: Method, path: impl IntoIterator<Item = &'p str>) -> Self {
        Call {
            method,
            path: path.into_iter().map(str::to_owned).collect(),
            query: Vec::new(),
            headers: HeaderMap::new(),
            body: None,
            tenant: TenantHeader::IfKnown,
        }
    }

    pub(super) fn get<'p>(path: impl IntoIterator<Item = &'p str>) -> Self {
        Self::new(Method::GET, path)
    }

    pub(super) fn post<'p>(path: impl IntoIterator<Item = &'p str>) -> Self {
        Self::new(Method::POST, path)
    }

    /// For all tenants, or for tenants themselves.
    pub(super) fn of_installation(mut self) -> Self {
        self.tenant = TenantHeader::Without;
        self
    }

    /// Nothing where there is no value.
    pub(super) fn query(mut self, name: &'static str, value: Option<impl ToString>) -> Self {
        self.query.extend(value.map(|value| (name, value.to_string())));
        self
    }

    pub(super) fn header(mut self, name: &'static str, value: HeaderValue) -> Self {
        self.headers.insert(HeaderName::from_static(name), value);
        self
    }

    pub(super) fn json(self, body: &Value) -> Self {
        self.raw_json(Bytes::from(body.to_string()))
    }

    /// Bytes that are JSON already.
    pub(super) fn raw_json(mut self, body: Bytes) -> Self {
        self.headers.insert(CONTENT_TYPE, JSON);
        self.body = Some(body);
        self
    }

    /// Bytes of this media type.
    pub(super) fn document(mut self, media: HeaderValue, body: Bytes) -> Self {
        self.headers.insert(CONTENT_TYPE, media);
        self.body = Some(body);
        self
    }

    pub(super) fn lines(mut self, body: Bytes) -> Self {
        self.headers.insert(CONTENT_TYPE, NDJSON);
        self.body = Some(body);
        self
    }
}

/// A success.
pub(super) struct Answer {
    pub(super) headers: HeaderMap,
    /// Byte for byte; empty for 204.
    pub(super) body: Bytes,
    url: String,
}

impl Answer {
    /// # Errors
    /// When the body is not of that shape.
    pub(super) fn read<T: DeserializeOwned>(&self) -> Result<T, ClientError> {
        serde_json::from_slice(&self.body).map_err(|error| ClientError::NotPostrider {
            url: self.url.clone(),
            reason: format!("an answer that is not as expected: {error}"),
        })
    }
}

impl Api {
    /// # Errors
    /// When the URL is not one of a server, or the key could not be a header.
    pub(super) fn new(connection: &Connection) -> Result<Self, ClientError> {
        let usage = |text: String| ClientError::Usage(text);
        let base = Url::parse(connection.url()).map_err(|error| {
            usage(format!(
                "--server (POSTRIDER_URL) is not a URL: {error}; for instance http://127.0.0.1:8080"
            ))
        })?;
        let is_web = matches!(base.scheme(), "http" | "https") && base.has_host();
        if !is_web || !base.username().is_empty() || base.password().is_some() {
            return Err(usage(
                "--server (POSTRIDER_URL) must be like http://127.0.0.1:8080, without a user name".to_owned(),
            ));
        }
        let bearer = |key: &String| {
            let mut value = HeaderValue::from_str(&format!("Bearer {}", key.trim()))
                .map_err(|_| usage("POSTRIDER_KEY (or --key) holds characters that no key has".to_owned()))?;
            value.set_sensitive(true);
            Ok::<HeaderValue, ClientError>(value)
        };
        // A variable that is set to nothing is how a shell's user says "none".
        let given = |text: &Option<String>| text.clone().filter(|text| !text.trim().is_empty());
        let key = given(&connection.key).as_ref().map(bearer).transpose()?;
        Ok(Api { base, key, tenant: given(&connection.tenant) })
    }

    pub(super) fn tenant(&self) -> Option<&str> {
        self.tenant.as_deref()
    }

    /// # Errors
    /// When the server cannot be reached or refuses.
    pub(super) async fn call(&self, call: Call) -> Result<Answer, ClientError> {
        let credentials = Credentials {
            has_key: self.key.is_some(),
            has_tenant: self.tenant.is_some() && call.tenant == TenantHeader::IfKnown,
        };
        let request = self.request(call)?;
        let url = self.base.to_string();
        let (head, body) = transport::exchange(&self.base, request).await?.into_parts();
        if head.status.is_success() {
            return Ok(Answer { headers: head.headers, body, url });
        }
        let retry_after =
            head.headers.get(RETRY_AFTER).and_then(|value| value.to_str().ok()).map(str::to_owned);
        match Refusal::read(head.status, &body, retry_after, credentials) {
            Some(refusal) => Err(ClientError::Refused(Box::new(refusal))),
            None => Err(ClientError::NotPostrider { url, reason: format!("it answered {}", head.status) }),
        }
    }

    fn request(&self, call: Call) -> Result<Request<Full<Bytes>>, ClientError> {
        let target = self.target(&call)?;
        let unusable = |error: http::Error| ClientError::Usage(format!("this cannot be sent: {error}"));
        let mut request = Request::new(Full::new(call.body.unwrap_or_default()));
        *request.method_mut() = call.method;
        *request.uri_mut() = target.parse().map_err(|error: http::uri::InvalidUri| unusable(error.into()))?;
        let headers = request.headers_mut();
        *headers = call.headers;
        let host = self.base.host_str().unwrap_or_default();
        let authority = self.base.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"));
        headers.insert(HOST, HeaderValue::from_str(&authority).map_err(|error| unusable(error.into()))?);
        headers.insert(ACCEPT, JSON);
        headers.insert(
            USER_AGENT,
            HeaderValue::from_static(concat!("postrider-cli/", env!("CARGO_PKG_VERSION"))),
        );
        if let Some(key) = &self.key {
            headers.insert(AUTHORIZATION, key.clone());
        }
        if let (TenantHeader::IfKnown, Some(tenant)) = (call.tenant, &self.tenant) {
            let value = HeaderValue::from_str(tenant).map_err(|_| {
                ClientError::Usage("--tenant (POSTRIDER_TENANT) is not a tenant's id".to_owned())
            })?;
            headers.insert(TENANT, value);
        }
        Ok(request)
    }

    /// Path and query. Steps that a URL would resolve away are refused, so that `show ..` cannot become a list.
    fn target(&self, call: &Call) -> Result<String, ClientError> {
        if let Some(step) = call.path.iter().find(|step| matches!(step.as_str(), "" | "." | "..")) {
            return Err(ClientError::Usage(format!("{step:?} is not an id")));
        }
        let mut url = self.base.clone();
        url.set_fragment(None);
        url.set_query(None);
        if let Ok(mut steps) = url.path_segments_mut() {
            steps.pop_if_empty().push("v1").extend(&call.path);
        }
        if !call.query.is_empty() {
            url.query_pairs_mut().extend_pairs(&call.query);
        }
        let query = url.query().map(|query| format!("?{query}")).unwrap_or_default();
        Ok(format!("{}{query}", url.path()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn api(url: &str) -> Result<Api, ClientError> {
        Api::new(&Connection { url: Some(url.to_owned()), key: None, tenant: None })
    }

    #[test]
    fn paths_and_queries_are_encoded_part_by_part() {
        let api = api("http://127.0.0.1:8080/base/").expect("a URL");
        let call = Call::get(["events", "a/b?c"])
            .query("since", Some("2026-11-21T09:30:00+01:00"))
            .query("until", None::<&str>);
        assert_eq!(
            api.target(&call).expect("a target"),
            "/base/v1/events/a%2Fb%3Fc?since=2026-11-21T09%3A30%3A00%2B01%3A00"
        );
    }

    #[test]
    fn an_id_cannot_climb_out_of_its_path() {
        let api = api("http://127.0.0.1:8080").expect("a URL");
        for id in ["", ".", ".."] {
            assert!(matches!(api.target(&Call::get(["webhooks", id])), Err(ClientError::Usage(_))), "{id:?}");
        }
    }

    #[test]
    fn what_is_not_a_servers_url_is_refused_before_anything_is_sent() {
        for url in ["", "127.0.0.1:8080", "ftp://a.example", "http://user:secret@a.example", "localhost:8080"]
        {
            assert!(matches!(api(url), Err(ClientError::Usage(_))), "{url}");
        }
        assert!(api("https://postrider.example").is_ok());
    }
}

//! What is refused of any request before a route sees it.

use http::header::{CONTENT_ENCODING, HOST};
use http::{HeaderMap, Request, Version};

use crate::problem::{Code, Problem};

/// Checks what no route may be asked to: a missing or doubled host, a long URI, an encoded body.
///
/// # Errors
/// The problem to answer instead of routing the request.
pub(crate) fn check<B>(request: &Request<B>, max_uri_bytes: usize) -> Result<(), Problem> {
    if uri_bytes(request) > max_uri_bytes {
        return Err(Problem::new(
            Code::UriTooLong,
            format!("the URI may have {max_uri_bytes} bytes at most"),
        ));
    }
    let hosts = request.headers().get_all(HOST).iter().count();
    let is_host_needed = request.version() == Version::HTTP_11;
    if hosts > 1 || (hosts == 0 && is_host_needed) {
        return Err(Problem::new(Code::BadRequest, "a request has exactly one Host header"));
    }
    if is_encoded(request.headers()) {
        return Err(Problem::new(Code::UnsupportedMediaType, "send the body without a Content-Encoding"));
    }
    Ok(())
}

fn uri_bytes<B>(request: &Request<B>) -> usize {
    let uri = request.uri();
    let origin = uri.authority().map_or(0, |authority| authority.as_str().len());
    origin + uri.path_and_query().map_or(0, |target| target.as_str().len())
}

fn is_encoded(headers: &HeaderMap) -> bool {
    headers.get_all(CONTENT_ENCODING).iter().any(|value| {
        let is_identity = value
            .to_str()
            .is_ok_and(|codings| codings.split(',').all(|one| one.trim().eq_ignore_ascii_case("identity")));
        !is_identity
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(request: http::request::Builder) -> Option<Code> {
        check(&request.body(()).expect("a request"), 8192).err().map(|problem| problem.code())
    }

    #[test]
    fn a_request_names_one_host() {
        assert_eq!(refused(Request::get("/")), Some(Code::BadRequest));
        assert_eq!(refused(Request::get("/").header(HOST, "a").header(HOST, "b")), Some(Code::BadRequest));
        assert_eq!(refused(Request::get("/").header(HOST, "a")), None);
        assert_eq!(refused(Request::get("/").version(Version::HTTP_10)), None);
    }

    #[test]
    fn a_long_uri_and_an_encoded_body_are_refused() {
        let long = format!("/?x={}", "a".repeat(8192));
        assert_eq!(refused(Request::get(long).header(HOST, "a")), Some(Code::UriTooLong));
        for coding in ["gzip", "gzip, gzip, gzip", "identity, br"] {
            let request = Request::post("/").header(HOST, "a").header(CONTENT_ENCODING, coding);
            assert_eq!(refused(request), Some(Code::UnsupportedMediaType), "{coding}");
        }
        assert_eq!(refused(Request::post("/").header(HOST, "a").header(CONTENT_ENCODING, "identity")), None);
    }
}

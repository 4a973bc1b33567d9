//! Which refusals each route can answer, by what the route is: said once for all of them, so that none is forgotten.
//!
//! A route's own words about a status stand; what it does not mention is added under the title of the refusal.

use http::StatusCode;
use postrider_service::problem::{Code, PROBLEM_JSON};
use utoipa::ToSchema;
use utoipa::openapi::path::{Operation, Parameter};
use utoipa::openapi::{Content, OpenApi, PathItem, Ref, RefOr, ResponseBuilder};

/// Any key, tenant or id may be wrong on any route, the header that names the tenant included.
const ALWAYS: [u16; 5] = [400, 401, 403, 404, 500];
/// Too slow, too large, not JSON, not as expected.
const OF_A_BODY: [u16; 4] = [408, 413, 415, 422];
/// What is read from memory is there while the store is away.
const FROM_MEMORY: [&str; 5] =
    ["/v1/profiles", "/v1/profiles/{name}", "/v1/event-types", "/v1/event-types/{type}", "/v1/egress"];
/// What takes an event in.
const PUBLISHING: [&str; 3] = ["/v1/events", "/v1/events/batch", "/v1/webhooks/{id}/test"];

/// A refusal (RFC 9457).
#[derive(ToSchema)]
#[schema(as = Problem)]
#[expect(dead_code, reason = "describes what `postrider_service::problem::Problem` is written as")]
pub struct ProblemBody {
    /// Where the page about it is, relative to this server.
    r#type: String,
    title: String,
    status: u16,
    /// For people; may change.
    detail: String,
    /// Stable, for programs.
    code: String,
    /// Of a 422: what is wrong where.
    errors: Option<Vec<FieldProblemBody>>,
    /// Of a failure on our side: what the log knows the request by.
    request_id: Option<String>,
}

/// What is wrong with one member of a request.
#[derive(ToSchema)]
#[schema(as = FieldProblem)]
#[expect(dead_code, reason = "describes what `postrider_service::problem::FieldError` is written as")]
pub struct FieldProblemBody {
    /// A JSON pointer (RFC 6901) into the request body.
    pointer: String,
    detail: String,
}

/// Completes the description: every refusal of every route, each with the schema of a problem.
pub fn describe_refusals(description: &mut OpenApi) {
    for (path, item) in &mut description.paths.paths {
        for (method, operation) in operations(item) {
            for status in refusals(path, method, operation) {
                describe(operation, status);
            }
            for (status, response) in &mut operation.responses.responses {
                if let (true, RefOr::T(response)) = (status.starts_with(['4', '5']), response) {
                    let content = Content::new(Some(Ref::from_schema_name("Problem")));
                    response.content.insert(PROBLEM_JSON.to_owned(), RefOr::T(content));
                }
            }
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Method {
    Read,
    Post,
    Change,
}

fn operations(item: &mut PathItem) -> impl Iterator<Item = (Method, &mut Operation)> {
    let all = [
        (Method::Read, &mut item.get),
        (Method::Post, &mut item.post),
        (Method::Change, &mut item.put),
        (Method::Change, &mut item.patch),
        (Method::Change, &mut item.delete),
    ];
    all.into_iter().filter_map(|(method, operation)| Some((method, operation.as_mut()?)))
}

fn refusals(path: &str, method: Method, operation: &Operation) -> Vec<u16> {
    let mut statuses = ALWAYS.to_vec();
    if operation.request_body.is_some() {
        statuses.extend(OF_A_BODY);
    }
    if method != Method::Read || !FROM_MEMORY.contains(&path) {
        statuses.push(503);
    }
    if method == Method::Post && PUBLISHING.contains(&path) {
        statuses.push(429);
    }
    let is_publishing = path.starts_with("/v1/events");
    if method == Method::Change || method == Method::Post && !is_publishing {
        statuses.push(409);
    }
    let is_precondition = |parameter: &RefOr<Parameter>| match parameter {
        RefOr::T(parameter) => parameter.name == "If-Match",
        RefOr::Ref(_) => false,
    };
    if operation.parameters.iter().flatten().any(is_precondition) {
        statuses.push(412);
    }
    statuses
}

fn describe(operation: &mut Operation, status: u16) {
    let title = StatusCode::from_u16(status).map_or("Refused", |status| Code::for_status(status).title());
    let new = || RefOr::T(ResponseBuilder::new().description(title).build());
    operation.responses.responses.entry(status.to_string()).or_insert_with(new);
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use serde_json::Value;

    use crate::serve::api_description;

    const MEMORY: &str = "400 401 403 404 500";
    const READ: &str = "400 401 403 404 500 503";
    const MADE: &str = "400 401 403 404 408 409 413 415 422 500 503";
    const CHANGED: &str = "400 401 403 404 408 409 412 413 415 422 500 503";
    const ENDED: &str = "400 401 403 404 409 412 500 503";

    /// What each route can answer beside its success.
    const ROUTES: [(&str, &str); 37] = [
        ("post /v1/events", "400 401 403 404 408 409 413 415 422 429 500 503"),
        ("post /v1/events/batch", "400 401 403 404 408 413 415 422 429 500 503"),
        ("post /v1/events/explain", "400 401 403 404 408 413 415 422 500 503"),
        ("get /v1/events", READ),
        ("get /v1/events/{id}", READ),
        ("get /v1/deliveries", READ),
        ("get /v1/deliveries/{id}", READ),
        ("get /v1/webhooks/{id}/deliveries", READ),
        ("get /v1/webhooks/{id}/executions", READ),
        ("get /v1/ledger", READ),
        ("post /v1/tenants", MADE),
        ("get /v1/tenants", READ),
        ("get /v1/tenants/{id}", READ),
        ("patch /v1/tenants/{id}", CHANGED),
        ("delete /v1/tenants/{id}", ENDED),
        ("post /v1/tenants/{id}/keys", MADE),
        ("get /v1/tenants/{id}/keys", READ),
        ("delete /v1/tenants/{id}/keys/{key}", "400 401 403 404 409 500 503"),
        ("post /v1/webhooks", MADE),
        ("get /v1/webhooks", READ),
        ("get /v1/webhooks/{id}", READ),
        ("patch /v1/webhooks/{id}", CHANGED),
        ("put /v1/webhooks/{id}", CHANGED),
        ("delete /v1/webhooks/{id}", ENDED),
        ("post /v1/webhooks/{id}/rotate", CHANGED),
        ("post /v1/webhooks/{id}/pause", MADE),
        ("post /v1/webhooks/{id}/resume", MADE),
        ("post /v1/webhooks/{id}/test", "400 401 403 404 408 409 413 415 422 429 500 503"),
        ("get /v1/profiles", MEMORY),
        ("get /v1/profiles/{name}", MEMORY),
        ("put /v1/profiles/{name}", CHANGED),
        ("delete /v1/profiles/{name}", ENDED),
        ("get /v1/event-types", MEMORY),
        ("get /v1/event-types/{type}", MEMORY),
        ("put /v1/event-types/{type}", CHANGED),
        ("delete /v1/event-types/{type}", ENDED),
        ("get /v1/egress", MEMORY),
    ];

    #[test]
    fn every_route_names_each_refusal_it_can_answer_and_all_are_problems() {
        let description: Value = serde_json::from_str(&api_description().unwrap()).unwrap();
        let mut described = BTreeMap::new();
        for (path, item) in description["paths"].as_object().unwrap() {
            for (method, operation) in item.as_object().unwrap() {
                let responses = operation["responses"].as_object().unwrap();
                let refusals: Vec<_> =
                    responses.iter().filter(|(status, _)| status.starts_with(['4', '5'])).collect();
                for (status, response) in &refusals {
                    let schema = &response["content"]["application/problem+json"]["schema"]["$ref"];
                    assert_eq!(schema, "#/components/schemas/Problem", "{method} {path} {status}");
                }
                let statuses: Vec<_> = refusals.into_iter().map(|(status, _)| status.as_str()).collect();
                described.insert(format!("{method} {path}"), statuses.join(" "));
            }
        }
        let known: BTreeMap<_, _> =
            ROUTES.iter().map(|(route, refusals)| ((*route).to_owned(), (*refusals).to_owned())).collect();
        assert_eq!(described, known);
        assert!(description["components"]["schemas"]["Problem"]["properties"]["code"].is_object());
    }
}

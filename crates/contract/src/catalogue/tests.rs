use bytes::Bytes;
use serde_json::value::RawValue;
use serde_json::{Value, json};

use super::*;
use crate::event::Versions;
use crate::json::{Node, RawObject};
use crate::schema::Schema;

/// Every type of every built-in catalogue, as the contracts list them.
const TYPES: [(&str, &[&str]); 5] = [
    (
        "trcker",
        &[
            "cap.reached",
            "conversion.approved",
            "conversion.created",
            "conversion.rejected",
            "fraud.high_risk",
            "partner.applied",
            "partner.approved",
            "partner.banned",
        ],
    ),
    (
        "trackdesk",
        &[
            "affiliate.created",
            "affiliate.status_changed",
            "affiliate.ticket_created",
            "affiliate.ticket_updated",
            "affiliate.tier_changed",
            "click.created",
            "conversion.created",
            "conversion.status_changed",
            "coupon.created",
            "settlement.created",
        ],
    ),
    (
        "trakkr",
        &["citation_gained", "citation_lost", "competitor_added", "report_completed", "visibility_changed"],
    ),
    (
        "track360",
        &[
            "click.tracked",
            "commission.adjusted",
            "commission.approved",
            "commission.calculated",
            "commission.tier_changed",
            "conversion.created",
            "conversion.qualified",
            "conversion.rejected",
            "conversion.updated",
            "partner.approved",
            "partner.registered",
            "partner.suspended",
            "partner.terminated",
            "payout.completed",
            "payout.failed",
            "payout.processing",
            "payout.scheduled",
        ],
    ),
    ("tracktile", &["order.status.changed"]),
];

fn event_type(text: &str) -> EventType {
    text.parse().expect("a type")
}

fn version_of(version: &str, data: &str) -> Versions {
    let data = RawObject::parse(Bytes::copy_from_slice(data.as_bytes())).expect("an object");
    Versions::of(version.parse().expect("a version"), &data)
}

fn raw(value: &Value) -> Box<RawValue> {
    RawValue::from_string(value.to_string()).expect("JSON")
}

fn written(version: &str, schema: Option<Value>, example: Option<Value>) -> WrittenMajor {
    WrittenMajor {
        version: version.parse().expect("a version"),
        description: String::new(),
        schema: schema.as_ref().map(raw),
        example: example.as_ref().map(raw),
        sunset_at: None,
    }
}

fn major(version: &str, schema: Value) -> Arc<Major> {
    Arc::new(Major::new(written(version, Some(schema), None)).expect("a major"))
}

#[test]
fn every_built_in_type_is_there_with_description_version_schema_and_example() {
    let named: Vec<&str> = builtin_catalogue_names().collect();
    assert_eq!(named.len(), TYPES.len());
    for (name, types) in TYPES {
        let catalogue = builtin_catalogue(name).expect("built in");
        let listed: Vec<&str> = catalogue.types().map(|(event_type, _)| event_type.as_str()).collect();
        assert_eq!(listed, types, "{name}");
        for (event_type, known) in catalogue.types() {
            let newest = known.newest().expect("one major at least");
            assert_eq!(newest.source, CatalogueSource::Builtin);
            let written = newest.major.written();
            assert!(!written.description.is_empty(), "{name} {event_type}");
            assert!(
                newest.major.schema().is_some() && newest.major.example().is_some(),
                "{name} {event_type}"
            );
        }
    }
    assert!(builtin_catalogue("nobody").is_none());
}

/// Every example satisfies its schema, or its catalogue would not load; and it satisfies one that allows nothing else,
/// so that nothing stands in an example which its schema does not describe.
#[test]
fn every_built_in_example_is_what_its_schema_says_and_no_more() {
    for (event_type, known) in
        TYPES.iter().flat_map(|(name, _)| builtin_catalogue(name).expect("built in").types())
    {
        let major = &known.newest().expect("one major at least").major;
        let text = major.written().schema.as_ref().expect("a schema").get();
        let mut schema: Value = serde_json::from_str(text).expect("JSON");
        let data = Node::of(major.example().expect("an example"));
        assert_eq!(Schema::parse(text).expect("a schema").check(&data), [], "{event_type}");
        close(&mut schema);
        let closed = Schema::parse(&schema.to_string()).expect("a schema");
        assert_eq!(closed.check(&data), [], "{event_type}");
    }
}

fn close(schema: &mut Value) {
    let Some(members) = schema.as_object_mut() else { return };
    if let Some(properties) = members.get_mut("properties").and_then(Value::as_object_mut) {
        properties.values_mut().for_each(close);
        members.insert("additionalProperties".to_owned(), json!(false));
    }
    if let Some(items) = members.get_mut("items") {
        close(items);
    }
}

/// Status changes carry the original and the new one, by the contract.
#[test]
fn a_change_that_does_not_tell_from_what_to_what_is_no_such_event() {
    let trackdesk = builtin_catalogue("trackdesk").expect("built in");
    for (name, from, to) in [
        ("affiliate.status_changed", "originalStatus", "newStatus"),
        ("conversion.status_changed", "originalStatus", "newStatus"),
        ("affiliate.tier_changed", "originalTierName", "newTierName"),
    ] {
        let event_type = event_type(name);
        for missing in [from, to] {
            let example = trackdesk.get(&event_type).and_then(KnownType::newest).expect("known");
            let text = example.major.written().example.as_ref().expect("an example").get();
            let mut data: Value = serde_json::from_str(text).expect("JSON");
            data.as_object_mut().expect("an object").remove(missing);
            let broken = trackdesk.judge(&event_type, &version_of("1.0", &data.to_string()));
            assert_eq!(broken.len(), 1, "{name} without {missing}: {broken:?}");
            assert_eq!(broken[0].pointer, "/data");
        }
    }
}

#[test]
fn of_one_major_the_uppermost_description_counts_and_the_others_stay() {
    let mut catalogue = Catalogue::default();
    let paid = event_type("order.paid");
    for (version, source) in [
        ("2.0", CatalogueSource::Tenant),
        ("1.0", CatalogueSource::Builtin),
        ("1.3", CatalogueSource::Installation),
        ("3.0", CatalogueSource::Builtin),
    ] {
        catalogue.put(&paid, major(version, json!({})), source);
    }
    let known = catalogue.get(&paid).expect("known");
    let majors: Vec<(String, CatalogueSource)> =
        known.majors().map(|one| (one.major.version().to_string(), one.source)).collect();
    let expected = [
        ("1.3", CatalogueSource::Installation),
        ("2.0", CatalogueSource::Tenant),
        ("3.0", CatalogueSource::Builtin),
    ];
    assert_eq!(majors, expected.map(|(version, source)| (version.to_owned(), source)));
    assert_eq!(known.newest().map(|one| one.major.version().major), Some(3));
    assert!(known.major(4).is_none());
}

#[test]
fn an_event_is_judged_by_the_major_that_it_is_of() {
    let mut catalogue = Catalogue::default();
    let paid = event_type("order.paid");
    let of = |kind: &str| json!({"required": ["total"], "properties": {"total": {"type": kind}}});
    catalogue.put(&paid, major("1.0", of("number")), CatalogueSource::Tenant);
    catalogue.put(&paid, major("2.0", of("string")), CatalogueSource::Tenant);
    let judged = |name: &str, version: &str, data: &str| {
        let broken = catalogue.judge(&event_type(name), &version_of(version, data));
        broken.into_iter().map(|one| one.pointer).collect::<Vec<_>>()
    };
    assert_eq!(judged("order.paid", "1.0", r#"{"total":1}"#), [] as [&str; 0]);
    assert_eq!(judged("order.paid", "1.9", r#"{"total":"1"}"#), ["/data/total"]);
    assert_eq!(judged("order.paid", "2.0", r#"{"total":"1"}"#), [] as [&str; 0]);
    assert_eq!(judged("order.paid", "2.0", "{}"), ["/data"]);
    assert_eq!(judged("order.paid", "3.0", "{}"), ["/schema_version"]);
    assert_eq!(judged("order.sent", "3.0", "{}"), [] as [&str; 0], "nobody has described it");
}

#[test]
fn what_cannot_work_is_refused_with_its_place() {
    let broken = json!({"properties": {"a": {"type": "strin"}}});
    let strict = json!({"required": ["a", "b"]});
    for (written, pointers) in [
        (written("1.0", Some(broken), None), &["/schema/properties/a/type"][..]),
        (written("1.0", Some(json!([])), None), &["/schema"]),
        (written("1.0", Some(strict.clone()), Some(json!({}))), &["/example", "/example"]),
        (written("1.0", None, Some(json!("text"))), &["/example"]),
        (written("1.0", None, Some(json!({"a": "x".repeat(MAX_EXAMPLE_BYTES)}))), &["/example"]),
    ] {
        let refused = Major::new(written).expect_err("refused");
        let found: Vec<&str> = refused.iter().map(|one| one.pointer.as_str()).collect();
        assert_eq!(found, pointers, "{refused:?}");
    }
    assert!(Major::new(written("1.0", Some(strict), Some(json!({"a": 1, "b": 2})))).is_ok());
}

#[test]
fn a_definition_holds_each_major_once_and_is_read_back_as_it_was_written() {
    let first = EventTypeDefinition::new(None, event_type("order.paid"));
    assert!(first.is_withdrawn());
    let second = first.with(written("2.0", None, None)).with(written("1.0", None, None));
    let changed = second.with(written("1.4", Some(json!({"a": [1.50]})), None));
    let versions: Vec<String> = changed.majors.iter().map(|one| one.version.to_string()).collect();
    assert_eq!(versions, ["1.4", "2.0"]);
    let text = serde_json::to_string(&changed).expect("serialises");
    let read: EventTypeDefinition = serde_json::from_str(&text).expect("reads back");
    assert!(read.majors.iter().zip(&changed.majors).all(|(one, other)| one.is_same_as(other)));
    assert!(!read.majors[0].is_same_as(&second.majors[0]));
}

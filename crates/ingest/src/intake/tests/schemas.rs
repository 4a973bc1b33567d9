//! Events against their tenant's catalogue: refused, told or let through, as the tenant has chosen.

use postrider_contract::catalogue::{EventTypeDefinition, SchemaCheck, WrittenMajor};
use postrider_contract::schema::Violation;
use postrider_contract::submission::Submission;
use postrider_contract::tenant::Tenant;
use serde_json::value::RawValue;

use super::*;

const GOOD: &str = r#"{"type":"order.paid","data":{"total":12345678901234567890}}"#;
const BAD: &str = r#"{"type":"order.paid","data":{"total":"much","extra":1}}"#;

pub(super) fn paid(version: &str, schema: &str) -> WrittenMajor {
    WrittenMajor {
        version: version.parse().unwrap(),
        description: String::new(),
        schema: Some(RawValue::from_string(schema.to_owned()).unwrap()),
        example: None,
        sunset_at: None,
    }
}

pub(super) fn described(majors: Vec<WrittenMajor>) -> EventTypeDefinition {
    EventTypeDefinition { tenant: Some(tenant_id("a")), event_type: "order.paid".parse().unwrap(), majors }
}

const STRICT: &str =
    r#"{"required":["total"],"properties":{"total":{"type":"number"}},"additionalProperties":false}"#;

/// A tenant that has chosen, and one webhook that takes orders.
async fn door(schema_check: SchemaCheck) -> Door {
    let door = Door::open().await;
    door.put(&Tenant { schema_check, ..tenant("a", "standard") }).await;
    door.put(&described(vec![paid("1.0", STRICT)])).await;
    door.put(&webhook(1)).await;
    door
}

fn warnings(door: &Door, body: &str) -> Vec<String> {
    let submission = Submission::parse(&Bytes::copy_from_slice(body.as_bytes())).unwrap();
    door.intake.warnings_of(&tenant_id("a"), &submission).into_iter().map(|one| one.pointer).collect()
}

fn pointers(refused: IntakeError) -> Vec<String> {
    let IntakeError::SchemaBroken { violations } = refused else { panic!("{refused:?}") };
    violations.into_iter().map(|Violation { pointer, .. }| pointer).collect()
}

#[tokio::test]
async fn an_event_that_breaks_its_schema_becomes_what_its_tenant_chose() {
    for (check, told) in [(SchemaCheck::Off, &[][..]), (SchemaCheck::Warn, &["/data/extra", "/data/total"])] {
        let door = door(check).await;
        assert_eq!(warnings(&door, BAD), told, "{check:?}");
        assert_eq!(door.accept(BAD).await.unwrap().deliveries.len(), 1, "{check:?}");
        let body = door.deliveries().await.remove(0).body;
        assert!(body.ends_with(br#""data":{"total":"much","extra":1}}"#), "as it came");
    }
    let door = door(SchemaCheck::Enforce).await;
    assert_eq!(warnings(&door, BAD), [] as [&str; 0], "it is refused instead");
    for key in [None, Some("k")] {
        let refused = door.accept_keyed(key, BAD).await.unwrap_err();
        assert_eq!(pointers(refused), ["/data/extra", "/data/total"]);
    }
    door.assert_nothing_happened().await;
    // Put right, it is accepted under the key that it was refused under.
    assert!(!door.accept_keyed(Some("k"), GOOD).await.unwrap().replayed);
}

#[tokio::test]
async fn a_good_event_and_one_that_nobody_describes_pass_whatever_was_chosen() {
    for check in [SchemaCheck::Off, SchemaCheck::Warn, SchemaCheck::Enforce] {
        let door = door(check).await;
        for body in [GOOD, r#"{"type":"order.sent","data":{"any":"thing"}}"#] {
            assert_eq!(warnings(&door, body), [] as [&str; 0], "{check:?} {body}");
            door.accept(body).await.unwrap();
        }
    }
}

#[tokio::test]
async fn an_event_is_judged_by_its_own_major_and_a_major_that_is_not_there_is_told() {
    let door = door(SchemaCheck::Enforce).await;
    let text = r#"{"properties":{"total":{"type":"string"}}}"#;
    door.put(&described(vec![paid("1.0", STRICT), paid("2.0", text)])).await;
    let of = |version: &str, data: &str| {
        format!(r#"{{"type":"order.paid","schema_version":"{version}","data":{data}}}"#)
    };
    door.accept(&of("2.7", r#"{"total":"much"}"#)).await.unwrap();
    door.accept(&of("1.0", r#"{"total":1}"#)).await.unwrap();
    for (version, data, pointer) in
        [("2.0", r#"{"total":1}"#, "/data/total"), ("1.1", "{}", "/data"), ("3.0", "{}", "/schema_version")]
    {
        let refused = door.accept(&of(version, data)).await.unwrap_err();
        assert_eq!(pointers(refused), [pointer], "{version} {data}");
    }
}

#[tokio::test]
async fn what_was_accepted_stays_accepted_though_its_schema_was_tightened_since() {
    let door = door(SchemaCheck::Off).await;
    let first = door.accept_keyed(Some("k"), BAD).await.unwrap();
    door.put(&Tenant { schema_check: SchemaCheck::Enforce, ..tenant("a", "standard") }).await;
    let repeat = door.accept_keyed(Some("k"), BAD).await.unwrap();
    assert_eq!((repeat.replayed, repeat.event), (true, first.event));
    assert!(matches!(door.accept_keyed(Some("l"), BAD).await, Err(IntakeError::SchemaBroken { .. })));
}

#[tokio::test]
async fn what_numbers_and_texts_no_other_reader_holds_are_judged_as_they_are_written() {
    let door = door(SchemaCheck::Enforce).await;
    let limits = r#"{"properties":{"n":{"type":"integer","maximum":1e401},"s":{"maxLength":1}}}"#;
    door.put(&described(vec![paid("1.0", limits)])).await;
    let of = |data: &str| format!(r#"{{"type":"order.paid","data":{data}}}"#);
    for data in [r#"{"n":1e400,"s":"\ud800"}"#, r#"{"n":123456789012345678901234567890}"#] {
        door.accept(&of(data)).await.unwrap();
    }
    for (data, pointer) in [(r#"{"n":1e402}"#, "/data/n"), (r#"{"n":1,"n":0.5}"#, "/data/n")] {
        assert_eq!(pointers(door.accept(&of(data)).await.unwrap_err()), [pointer], "{data}");
    }
}

use super::*;
use crate::profile::{Profile, ProfileName, builtin_profile};

/// A profile in which every member is given.
fn whole() -> Value {
    let mut profile = builtin_profile(&ProfileName::standard())
        .map(|profile| serde_json::to_value(profile.definition()).expect("JSON"))
        .expect("built in");
    profile["catalogue"] = json!("trcker");
    profile["accent_colour"] = json!("#16a34a");
    profile["envelope"]["reserved_data_members"] = json!(["id"]);
    profile["signature"]["query_parameter"] = json!("sig");
    profile
}

fn read(profile: &Value) -> Result<Value, String> {
    let read = Profile::from_json(profile.to_string().as_bytes()).map_err(|error| error.to_string())?;
    Ok(serde_json::to_value(read).expect("JSON"))
}

fn keys(value: &Value) -> Vec<&String> {
    value.as_object().map(|members| members.keys().collect()).unwrap_or_default()
}

/// Goes through every object of a whole profile beside its schema.
fn walk(schema: &Value, value: &Value, at: &str, see: &mut dyn FnMut(&Value, &Value, &str)) {
    match value {
        Value::Object(members) => {
            see(schema, value, at);
            for (name, member) in members {
                walk(&schema["properties"][name], member, &format!("{at}/{name}"), see);
            }
        }
        Value::Array(items) => {
            for (index, item) in items.iter().enumerate() {
                walk(&schema["items"], item, &format!("{at}/{index}"), see);
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

#[test]
fn the_schema_has_the_members_of_the_types_and_no_others() {
    let schema = profile_schema();
    let mut objects = 0;
    walk(&schema, &whole(), "", &mut |schema, value, at| {
        objects += 1;
        assert_eq!(keys(&schema["properties"]), keys(value), "{at}");
        assert_eq!(schema["additionalProperties"], false, "{at}");
    });
    assert_eq!(objects, 11, "every object of the form is there, each of two headers for itself");
}

#[test]
fn what_may_be_left_out_and_what_is_then_meant_is_what_the_reader_says() {
    let schema = profile_schema();
    let whole = whole();
    let mut places = Vec::new();
    walk(&schema, &whole, "", &mut |schema, value, at| {
        for name in keys(value) {
            let is_required = schema["required"].as_array().is_some_and(|names| names.contains(&json!(name)));
            places.push((at.to_owned(), name.clone(), is_required, schema["properties"][name].clone()));
        }
    });
    for (at, name, is_required, member) in places {
        let mut without = whole.clone();
        without.pointer_mut(&at).and_then(Value::as_object_mut).expect("an object").remove(&name);
        match read(&without) {
            Err(error) => assert!(is_required, "{at}/{name}: {error}"),
            Ok(read) => {
                assert!(!is_required, "{at}/{name}");
                let filled = read.pointer(&format!("{at}/{name}"));
                if member["type"] == "object" {
                    check_defaults(&member, filled, &format!("{at}/{name}"));
                } else {
                    assert_eq!(member.get("default"), filled, "{at}/{name}");
                }
            }
        }
    }
}

/// What is filled in for a whole object: the defaults of its members, or nothing at all.
fn check_defaults(schema: &Value, filled: Option<&Value>, at: &str) {
    for (name, member) in schema["properties"].as_object().expect("members") {
        let value = filled.and_then(|filled| filled.get(name));
        match filled {
            Some(_) => assert_eq!(member.get("default"), value, "{at}/{name}"),
            None => assert_eq!(value, None),
        }
    }
}

#[test]
fn an_unknown_member_is_refused_wherever_it_stands() {
    let whole = whole();
    let mut places = Vec::new();
    walk(&profile_schema(), &whole, "", &mut |_, _, at| places.push(at.to_owned()));
    for at in places {
        let mut more = whole.clone();
        more.pointer_mut(&at).and_then(Value::as_object_mut).expect("an object").insert("x".into(), json!(1));
        let refused = Profile::from_json(more.to_string().as_bytes()).expect_err(&at);
        assert_eq!(refused.pointer(), format!("{at}/x"));
    }
}

#[test]
fn every_word_of_an_enumeration_is_read_and_no_other() {
    let whole = whole();
    let mut places = Vec::new();
    walk(&profile_schema(), &whole, "", &mut |schema, _, at| {
        for (name, member) in schema["properties"].as_object().expect("members") {
            if let Some(words) = member["enum"].as_array() {
                places.push((format!("{at}/{name}"), words.clone()));
            }
        }
    });
    assert_eq!(places.len(), 7);
    for (place, words) in places {
        let mut other = whole.clone();
        for word in words {
            *other.pointer_mut(&place).expect("there") = word.clone();
            assert!(read(&other).is_ok(), "{place}: {word}");
        }
        *other.pointer_mut(&place).expect("there") = json!("anything");
        let refused = Profile::from_json(other.to_string().as_bytes()).expect_err(&place).detail;
        let told = refused.matches('`').count() / 2 - 1;
        let schema = profile_schema();
        let pointer = place.replace('/', "/properties/");
        let listed = schema.pointer(&pointer).map(|member| member["enum"].as_array().map_or(0, Vec::len));
        assert_eq!(listed, Some(told), "{place}: {refused}");
    }
}

#[test]
fn the_patterns_name_every_variable() {
    let schema = profile_schema();
    let expression = |pointer: &str| {
        schema.pointer(pointer).and_then(|member| member["pattern"].as_str()).map(str::to_owned)
    };
    let body = expression("/properties/envelope/properties/body").expect("a pattern");
    assert!(body.contains("|event\\.data\\.members|") && !body.contains("timestamp_ms"));
    assert!(
        expression("/properties/signature/properties/signs")
            .is_some_and(|text| { text.contains("|body|query|secret|query\\.[A-Za-z0-9_.-]{1,64})") })
    );
    assert_eq!(
        expression("/properties/signature/properties/each").as_deref(),
        Some("^([^$]|\\$\\$|\\$(?![{$])|\\$\\{(signature)\\})*$")
    );
}

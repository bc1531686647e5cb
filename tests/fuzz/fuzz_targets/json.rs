//! JSON to protobuf and back, for every message that a method takes or gives.

#![no_main]

use errand_fuzz::{first, memory};
use errand_proto::{
    POOL,
    contract::METHODS,
    json::{self, JsonError},
};
use libfuzzer_sys::fuzz_target;
use prost_reflect::DynamicMessage;
use serde_json::{Map, Value};

fuzz_target!(init: start(), |data: &[u8]| {
    let mut rest = data;
    let (which, direction) = (usize::from(first(&mut rest)), first(&mut rest));
    let method = &METHODS[which / 2 % METHODS.len()];
    let name = if which % 2 == 0 { method.input } else { method.output };
    memory::within((256 << 10) + 512 * rest.len(), || {
        if direction & 1 == 0 { from_text(name, rest) } else { from_message(name, rest) }
    });
});

/// Reads the descriptors, which are kept.
fn start() {
    from_text(METHODS[0].input, b"{}");
}

fn from_text(name: &str, text: &[u8]) {
    let plain: Result<Value, _> = serde_json::from_slice(text);
    let value = match (json::parse(text), plain) {
        (Ok(strict), Ok(plain)) => {
            assert_eq!(strict, plain);
            strict
        }
        // A name that stands twice is all that is stricter.
        (Err(JsonError::Field(violation)), Ok(_)) => return assert_eq!(violation.reason, "DUPLICATE"),
        (Err(_), Err(_)) => return,
        (strict, plain) => panic!("{strict:?} is not {plain:?}"),
    };
    let Ok(bytes) = json::to_bytes(name, &value) else { return };
    let Ok(back) = json::from_bytes(name, &bytes) else {
        // A message may be nested less deep than JSON.
        assert!(depth(&value) > 16, "{value} became no {name}");
        return;
    };
    stable(name, &bytes, &back);
    // Nothing that was said is lost: what is not there again says what is said by saying nothing.
    let said = value.as_object().into_iter().flatten();
    for (key, inner) in said.filter(|(key, _)| back.get(camel(key)).is_none()) {
        let alone = json::to_bytes(name, &Value::Object(Map::from_iter([(key.clone(), inner.clone())])));
        assert_eq!(alone, Ok(Vec::new()), "{key} of {value} was lost");
    }
}

fn from_message(name: &str, bytes: &[u8]) {
    let descriptor = POOL.get_message_by_name(name).expect("the contracts have it");
    let is_message = DynamicMessage::decode(descriptor, bytes).is_ok();
    match json::from_bytes(name, bytes) {
        Ok(value) => {
            let text = value.to_string();
            assert!(is_message && !text.contains(['\n', '\r']), "{text}");
            let again = json::to_bytes(name, &value).unwrap_or_else(|error| panic!("{error}: {text}"));
            stable(name, &again, &value);
        }
        Err(error) => assert!(matches!(error, JsonError::Malformed(_)), "{error:?}"),
    }
}

/// What is there stays as it is, however often it goes to and fro.
fn stable(name: &str, bytes: &[u8], value: &Value) {
    let again = json::to_bytes(name, value).expect("what came out goes in");
    assert_eq!(json::from_bytes(name, &again).as_ref(), Ok(value));
    let descriptor = POOL.get_message_by_name(name).expect("the contracts have it");
    let decoded = |bytes: &[u8]| DynamicMessage::decode(descriptor.clone(), bytes).expect("a message");
    assert_eq!(decoded(bytes), decoded(&again));
}

fn depth(value: &Value) -> usize {
    match value {
        Value::Array(items) => 1 + items.iter().map(depth).max().unwrap_or(0),
        Value::Object(fields) => 1 + fields.values().map(depth).max().unwrap_or(0),
        _ => 0,
    }
}

/// A field as JSON spells it.
fn camel(name: &str) -> String {
    errand_proto::query::camel(name)
}

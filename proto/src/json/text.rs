//! JSON text, read more strictly than JSON asks for.
//!
//! RFC 8259 leaves open what a name means that stands twice in one object, so two readers of one text may see two
//! different requests. Here it is a mistake that is named by its path.

use std::{cell::Cell, fmt};

use serde::de::{self, DeserializeSeed, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};

use super::{JsonError, invalid};

/// Reads JSON text.
///
/// # Errors
/// When the bytes are no JSON in UTF-8, something follows it, it is nested more than 128 deep or a number is larger than
/// a double can be; and when an object has a name twice.
pub fn parse(text: &[u8]) -> Result<Value, JsonError> {
    let twice = Cell::new(None);
    let mut reader = serde_json::Deserializer::from_slice(text);
    let seed = Strict { at: Place::Root, twice: &twice };
    let value = seed.deserialize(&mut reader).and_then(|value| reader.end().map(|()| value));
    value.map_err(|error| match twice.take() {
        Some(path) => invalid(&path, "DUPLICATE", "is given twice"),
        None => JsonError::Text(error.to_string()),
    })
}

/// Where a value stands. Becomes text only for a mistake.
#[derive(Clone, Copy)]
enum Place<'a> {
    Root,
    Name(&'a Place<'a>, &'a str),
    Item(&'a Place<'a>, usize),
}

/// Reads one value, and notes the path of a name that stands twice.
struct Strict<'a> {
    at: Place<'a>,
    twice: &'a Cell<Option<String>>,
}

impl fmt::Display for Place<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Place::Root => Ok(()),
            Place::Name(Place::Root, name) => f.write_str(name),
            Place::Name(parent, name) => write!(f, "{parent}.{name}"),
            Place::Item(parent, index) => write!(f, "{parent}[{index}]"),
        }
    }
}

impl<'de> DeserializeSeed<'de> for Strict<'_> {
    type Value = Value;

    fn deserialize<D: de::Deserializer<'de>>(self, reader: D) -> Result<Value, D::Error> {
        reader.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Strict<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(Value::Number(value.into()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(Value::Number(value.into()))
    }

    fn visit_f64<E: de::Error>(self, value: f64) -> Result<Value, E> {
        Number::from_f64(value).map(Value::Number).ok_or_else(|| E::custom("number out of range"))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(Value::String(value.to_owned()))
    }

    fn visit_string<E>(self, value: String) -> Result<Value, E> {
        Ok(Value::String(value))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut values = Vec::new();
        while let Some(value) =
            items.next_element_seed(Strict { at: Place::Item(&self.at, values.len()), twice: self.twice })?
        {
            values.push(value);
        }
        Ok(Value::Array(values))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut fields: A) -> Result<Value, A::Error> {
        let mut object = Map::new();
        while let Some(name) = fields.next_key::<String>()? {
            let at = Place::Name(&self.at, &name);
            if object.contains_key(&name) {
                self.twice.set(Some(at.to_string()));
                return Err(de::Error::custom("a name stands twice"));
            }
            let value = fields.next_value_seed(Strict { at, twice: self.twice })?;
            object.insert(name, value);
        }
        Ok(Value::Object(object))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn twice(text: &str) -> String {
        match parse(text.as_bytes()) {
            Err(JsonError::Field(violation)) if violation.reason == "DUPLICATE" => violation.field,
            other => panic!("{text} gave {other:?}"),
        }
    }

    #[test]
    fn r_059_a_name_that_stands_twice_is_told_by_its_path() {
        assert_eq!(twice(r#"{"a":1,"a":1}"#), "a");
        assert_eq!(twice(r#"{"a":[{},{"b":{"c":null,"d":1,"c":2}}]}"#), "a[1].b.c");
        assert_eq!(twice("{\"a\":1,\"\\u0061\":2}"), "a", "however it is spelled");
        assert_eq!(parse(br#"{"a":{"a":1},"b":{"a":1}}"#), Ok(json!({"a": {"a": 1}, "b": {"a": 1}})));
    }

    #[test]
    fn r_059_what_is_no_json_is_told_so() {
        let deep = "[".repeat(200) + &"]".repeat(200);
        let bytes: [&[u8]; 13] = [
            b"",
            b"{",
            b"{} x",
            b"{}{}",
            b"[1e999]",
            b"[-1e999]",
            b"[NaN]",
            b"[Infinity]",
            b"[01]",
            br#"["\ud800"]"#,
            b"[\"\xff\"]",
            b"\xef\xbb\xbf{}",
            deep.as_bytes(),
        ];
        for text in bytes {
            let text_of = String::from_utf8_lossy(text);
            assert!(matches!(parse(text), Err(JsonError::Text(_))), "{text_of}");
        }
    }

    proptest! {
        #[test]
        fn what_serde_reads_is_read_alike(
            text in r#"([\[\]{},:]|"[ab\\]{0,2}"|-?[0-9]{1,20}(\.[0-9]{1,3})?([eE][+-]?[0-9]{1,3})?|null|true| ){0,12}"#,
        ) {
            let plain = serde_json::from_str::<Value>(&text).ok();
            match parse(text.as_bytes()) {
                Err(JsonError::Field(_)) => prop_assert!(plain.is_some()),
                strict => prop_assert_eq!(strict.ok(), plain),
            }
        }
    }
}

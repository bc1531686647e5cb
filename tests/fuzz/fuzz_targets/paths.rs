//! Paths of REST, against a matcher that tries every template of the contracts and sorts what fits.

#![no_main]

use std::collections::BTreeMap;

use errand_fuzz::{
    edge::{self, Script},
    first, memory,
};
use errand_proto::{
    POOL,
    contract::{HttpRule, METHODS, Method},
};
use http::{Request, Uri};
use libfuzzer_sys::fuzz_target;
use percent_encoding::percent_decode_str;
use prost_reflect::{DynamicMessage, Value};
use tonic::body::Body;

const VERBS: [&str; 7] = ["GET", "POST", "PATCH", "DELETE", "PUT", "HEAD", "OPTIONS"];

/// A template that fits a path.
struct Fit {
    /// How it fits, the best first: a segment that is spelled out before a variable, from the left.
    rank: Vec<u8>,
    method: &'static Method,
    rule: &'static HttpRule,
    /// The text of its variables as it stands in the path.
    values: Vec<(&'static str, String)>,
}

fuzz_target!(init: edge::start(), |data: &[u8]| {
    let mut rest = data;
    let verb = VERBS[usize::from(first(&mut rest)) % VERBS.len()];
    let Ok(uri) = Uri::try_from(rest) else { return };
    let path = uri.path().to_owned();
    if uri.query().is_some() || uri.authority().is_some() || is_of_another_face(&path) {
        return;
    }
    let request = Request::builder().method(verb).uri(uri).body(Body::empty()).expect("a request");
    let (answer, seen) = memory::within(512 << 10, || edge::call(Script::Echo, request));
    assert!(!answer.blames_itself() || !seen.is_empty(), "{answer:?}");

    let fits = fits(&path);
    let wanted = if verb == "HEAD" { "GET" } else { verb };
    if fits.is_empty() {
        assert_eq!((answer.status.as_u16(), seen.len()), (404, 0), "{verb} {path}");
    } else if let Some(fit) = fits.get(wanted) {
        let decoded: Option<Vec<_>> = fit.values.iter().map(|(name, text)| Some((*name, decoded(text)?))).collect();
        let Some(values) = decoded else {
            return assert_eq!((answer.status.as_u16(), seen.len()), (404, 0), "{verb} {path}");
        };
        let [call] = seen.as_slice() else {
            // What a variable says may be no value of its field.
            return assert_eq!(answer.status.as_u16(), 400, "{verb} {path} {:?}", fit.rule);
        };
        assert_eq!(call.path, fit.method.path, "{verb} {path}");
        let body = call.body.as_ref().expect("the request is whole");
        let descriptor = POOL.get_message_by_name(fit.method.input).expect("the contracts have it");
        let message = DynamicMessage::decode(descriptor, &body[5..]).expect("a message");
        for (name, text) in values {
            assert_eq!(field(&message, name), text, "{verb} {path}");
        }
    } else {
        assert_eq!((answer.status.as_u16(), seen.len()), (405, 0), "{verb} {path}");
        let mut allowed: Vec<_> = fits.keys().copied().collect();
        if allowed.contains(&"GET") {
            allowed.push("HEAD");
        }
        assert_eq!(answer.header("allow"), allowed.join(", "), "{verb} {path}");
    }
});

/// Whether a path is answered by something that is in no template.
fn is_of_another_face(path: &str) -> bool {
    let others = ["/api/", "/grpc.", "/docs", "/openapi", "/healthz", "/favicon", "/errand."];
    Method::find(path).is_some() || others.iter().any(|other| path.starts_with(other))
}

/// The best that fits a path, by verb.
fn fits(path: &str) -> BTreeMap<&'static str, Fit> {
    let mut fits: Vec<_> =
        METHODS.iter().flat_map(|method| method.http.iter().filter_map(|rule| fit(method, rule, path))).collect();
    fits.sort_by(|a, b| a.rank.cmp(&b.rank));
    let best = fits.first().map(|fit| fit.rank.clone());
    let fits = fits.into_iter().filter(|fit| Some(&fit.rank) == best.as_ref());
    fits.map(|fit| (fit.rule.verb, fit)).collect()
}

fn fit(method: &'static Method, rule: &'static HttpRule, path: &str) -> Option<Fit> {
    let (template, word) = match rule.path.rsplit_once(':') {
        Some((template, word)) => (template, Some(word)),
        None => (rule.path, None),
    };
    let wanted: Vec<_> = template.split('/').collect();
    let given: Vec<_> = path.split('/').collect();
    if wanted.len() != given.len() {
        return None;
    }
    let last = given.len() - 1;
    let mut fit = Fit { rank: Vec::new(), method, rule, values: Vec::new() };
    for (at, (wanted, given)) in wanted.iter().zip(&given).enumerate() {
        let given = match word.filter(|_| at == last) {
            Some(word) => given.strip_suffix(word)?.strip_suffix(':')?,
            None => *given,
        };
        match wanted.strip_prefix('{').and_then(|rest| rest.strip_suffix('}')) {
            Some(name) if !given.is_empty() => {
                fit.rank.push(1);
                fit.values.push((name, given.to_owned()));
            }
            None if *wanted == given => fit.rank.push(0),
            _ => return None,
        }
    }
    // Where both fit, the word after the colon is the word of a template, not the end of an id.
    fit.rank.push(u8::from(word.is_none()));
    Some(fit)
}

fn decoded(text: &str) -> Option<String> {
    Some(percent_decode_str(text).decode_utf8().ok()?.into_owned())
}

/// The text of a field, by its path.
fn field(message: &DynamicMessage, path: &str) -> String {
    let (name, rest) = path.split_once('.').unwrap_or((path, ""));
    let value = message.get_field_by_name(name).expect("the contracts have it").into_owned();
    match value {
        Value::Message(inner) => field(&inner, rest),
        Value::String(text) => text,
        other => panic!("{other:?} is no text"),
    }
}

//! E-mail addresses and the key that makes two spellings one.

#![no_main]

use errand_auth::domain::account::{Email, canonical};
use errand_fuzz::{first, memory};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let mut rest = data;
    let cased = first(&mut rest);
    let Ok(text) = std::str::from_utf8(rest) else { return };
    let Ok(email) = memory::within((64 << 10) + 64 * text.len(), || Email::parse(text)) else { return };
    assert_eq!(email.as_str(), text, "what was given is kept");
    assert!(text.chars().count() <= 254);
    let key = email.key();
    let halves: Vec<_> = key.split('@').collect();
    assert!(halves.len() == 2 && halves.iter().all(|half| !half.is_empty()), "{key:?}");
    assert!(!key.contains(|letter: char| letter.is_whitespace() || letter.is_control()), "{key:?}");
    assert_eq!(canonical(key), key, "the key of a key is the key");
    // Another case is the same address; a letter that has no other case of its own may become another one.
    let other: String = text
        .chars()
        .enumerate()
        .map(|(at, letter)| match (cased >> (at % 8)) & 1 {
            1 => letter.to_ascii_uppercase(),
            _ => letter.to_ascii_lowercase(),
        })
        .collect();
    assert_eq!(Email::parse(&other).expect("it is an address in any case").key(), key);
    assert!(!format!("{email:?}").contains(text), "an address is not printed");
});

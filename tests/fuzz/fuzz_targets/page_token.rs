//! Page tokens: what was sealed comes back to whom it was sealed for, and nothing else opens.

#![no_main]

use std::sync::{Arc, LazyLock};

use arbitrary::Arbitrary;
use errand_changelog::UserId;
use errand_chassis::{
    clock::ManualClock,
    page_token::{LIFETIME, PageTokens},
    secret::Secret,
};
use jiff::{SignedDuration, Timestamp};
use libfuzzer_sys::fuzz_target;
use uuid::Uuid;

static CLOCK: LazyLock<Arc<ManualClock>> = LazyLock::new(Arc::default);
static TOKENS: LazyLock<PageTokens> = LazyLock::new(|| {
    let secret = Secret::new(&[1; 32]).expect("it is long enough");
    PageTokens::new(&secret, CLOCK.clone()).expect("a key")
});

/// A token, and how it is used.
#[derive(Debug, Arbitrary)]
struct Use<'a> {
    owners: (u128, u128),
    methods: (&'a str, &'a str),
    arguments: (&'a [u8], &'a [u8]),
    position: &'a [u8],
    later: u32,
    /// What is changed in the token: where, and to what.
    change: Option<(u16, u8)>,
    /// Tried instead of it.
    text: &'a str,
}

fuzz_target!(|used: Use| {
    let start = Timestamp::from_second(1_800_000_000).expect("a time");
    CLOCK.set(start);
    let owner = |number| UserId::from(Uuid::from_u128(number));
    let (sealed_for, opened_by) = (owner(used.owners.0), owner(used.owners.1));
    let token = TOKENS.seal(sealed_for, used.methods.0, used.arguments.0, used.position);
    assert!(token.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte)), "{token}");

    let made_up = TOKENS.open(sealed_for, used.methods.0, used.arguments.0, used.text);
    assert_eq!(made_up.expect_err("nobody can make one").reason(), "PAGE_TOKEN_INVALID");

    let mut presented = token.clone().into_bytes();
    if let Some((at, to)) = used.change {
        let at = usize::from(at) % presented.len();
        presented[at] = to;
    }
    let later = SignedDuration::from_secs(used.later.into());
    CLOCK.set(start.saturating_add(later).unwrap_or(Timestamp::MAX));
    let presented = String::from_utf8_lossy(&presented);
    let opened = TOKENS.open(opened_by, used.methods.1, used.arguments.1, &presented);
    let is_right = presented == token
        && used.owners.0 == used.owners.1
        && used.methods.0 == used.methods.1
        && used.arguments.0 == used.arguments.1
        && later <= LIFETIME;
    match opened {
        Ok(position) => assert!(is_right && position == used.position),
        Err(error) => assert!(!is_right && error.reason() == "PAGE_TOKEN_INVALID"),
    }
});

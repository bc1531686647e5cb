use proptest::prelude::*;
use uuid::Uuid;

use super::*;

fn email(text: &str) -> Email {
    Email::parse(text).unwrap()
}

fn account() -> Account {
    let time = Timestamp::constant(1_795_251_600, 0);
    Account {
        id: UserId::from(Uuid::from_u128(1)),
        email: "ada@example.com".into(),
        display_name: "Ada".into(),
        time_zone: UTC.into(),
        version: 26,
        create_time: time,
        update_time: time,
        disable_time: None,
    }
}

#[test]
fn r_002_an_address_is_one_in_any_case_and_any_normal_form() {
    let key = email("Jos\u{e9}@Example.COM").key().to_owned();
    for other in ["jose\u{301}@example.com", "JOSE\u{301}@EXAMPLE.com", "jos\u{e9}@\u{ff45}xample.com"] {
        assert_eq!(email(other).key(), key, "{other}");
    }
    assert_ne!(email("jose@example.com").key(), key);
    assert_eq!(email("Jos\u{e9}@Example.COM").as_str(), "Jos\u{e9}@Example.COM");
}

#[test]
fn an_address_needs_something_on_both_sides_of_one_at() {
    for bad in ["", "a", "@", "a@", "@b", "a@b@c", "a@.b", "a@b.", "a@b..c"] {
        assert_eq!(Email::parse(bad).unwrap_err().reason, "INVALID_FORMAT", "{bad}");
    }
    for good in ["a@b", "first.last+tag@sub.example.com", "ünï@exämple.com", "o'hara@example.ie"] {
        assert!(Email::parse(good).is_ok(), "{good}");
    }
}

#[test]
fn an_address_holds_nothing_that_can_not_be_seen() {
    for bad in [
        " ", "\t", "\n", "\0", "\u{7f}", "\u{85}", "\u{a0}", "\u{3000}", "\u{200b}", "\u{202e}", "\u{2066}",
        "\u{feff}", // In compatibility form this one is a phrase with spaces.
        "\u{fdfa}",
    ] {
        for text in [format!("a{bad}b@c"), format!("{bad}a@b"), format!("a@b{bad}")] {
            assert!(Email::parse(&text).is_err(), "{text:?}");
        }
    }
}

#[test]
fn an_address_of_254_characters_is_taken_and_of_255_refused() {
    let of = |length: usize| format!("{}@b.example", "é".repeat(length - 10));
    assert_eq!(of(254).chars().count(), 254);
    assert!(Email::parse(&of(254)).is_ok());
    assert_eq!(Email::parse(&of(255)).unwrap_err().reason, "TOO_LONG");
}

#[test]
fn r_010_passwords_that_are_short_common_or_the_address_are_refused() {
    let ada = email("Ada.Lovelace@example.com");
    let reason = |password: &str| check_password(password, &ada).unwrap_err().reason;
    assert_eq!(reason("1234567"), "TOO_SHORT");
    assert_eq!(reason("éééé€€€"), "TOO_SHORT");
    for common in ["password", "PassWord", "12345678", "qwertyuiop", "football"] {
        assert_eq!(reason(common), "TOO_COMMON", "{common}");
    }
    assert_eq!(reason("ada.lovelace@example.com"), "SAME_AS_EMAIL");
    assert_eq!(reason("ADA.LOVELACE@EXAMPLE.COM"), "SAME_AS_EMAIL");
    assert_eq!(reason(&"a".repeat(129)), "TOO_LONG");
    assert_eq!(reason(&"\u{10ffff}".repeat(257)), "TOO_LONG");
}

#[test]
fn r_010_passwords_of_64_and_128_characters_with_spaces_and_emoji_are_taken() {
    let ada = email("ada@example.com");
    for good in [
        "correct horse",
        " leading",
        "trailing ",
        &"a".repeat(64),
        &"b".repeat(128),
        &"😀".repeat(8),
        &"😀".repeat(128),
    ] {
        assert_eq!(check_password(good, &ada), Ok(()), "{good}");
    }
}

#[test]
fn the_common_passwords_are_sorted_and_all_found() {
    let lines: Vec<_> = COMMON_PASSWORDS.lines().collect();
    assert_eq!(lines.len(), 3000);
    assert!(lines.is_sorted());
    for line in &lines {
        assert!(line.chars().count() >= PASSWORD_SHORTEST, "{line}");
        assert_eq!(line.to_lowercase(), **line);
        assert!(is_common(line), "{line}");
        assert!(!is_common(&format!("{line}\u{10ffff}")));
    }
    assert!(!is_common(""));
    assert!(!is_common("\n"));
}

#[test]
fn a_time_zone_is_one_that_the_database_knows() {
    assert_eq!(TimeZone::parse("").unwrap().as_str(), "UTC");
    assert_eq!(TimeZone::parse("UTC").unwrap().as_str(), "UTC");
    assert_eq!(TimeZone::parse("europe/berlin").unwrap().as_str(), "Europe/Berlin");
    for bad in ["Mars/Base", "Etc/Unknown", "../../etc/passwd", "EST5EDT,M3.2.0,M11.1.0", "+02:00", " UTC", "Local"] {
        assert_eq!(TimeZone::parse(bad).unwrap_err().reason, "UNKNOWN_VALUE", "{bad}");
    }
}

#[test]
fn a_patch_changes_what_it_names_and_nothing_is_no_change() {
    let before = account();
    let later = before.update_time + jiff::SignedDuration::from_secs(5);
    assert_eq!(before.patched(&Patch::default(), later), None);
    assert_eq!(before.patched(&Patch { display_name: Some("Ada".into()), time_zone: None }, later), None);
    let patch = Patch { display_name: Some("Countess".into()), time_zone: TimeZone::parse("Europe/London").ok() };
    let after = before.patched(&patch, later).unwrap();
    assert_eq!((after.display_name.as_str(), after.time_zone.as_str()), ("Countess", "Europe/London"));
    assert_eq!((after.update_time, after.create_time), (later, before.create_time));
    let earlier = before.update_time - jiff::SignedDuration::from_secs(5);
    assert_eq!(before.patched(&patch, earlier).unwrap().update_time, before.update_time);
}

#[test]
fn an_etag_is_the_version() {
    assert_eq!(account().etag(), "1a");
}

#[test]
fn nothing_prints_an_address_or_a_hash() {
    let printed = format!("{:?} {:?} {:?}", account(), email("ada@example.com"), PasswordHash::new("$argon2id".into()));
    assert!(!printed.contains("ada") && !printed.contains("argon2id"), "{printed}");
}

proptest! {
    #[test]
    fn the_key_of_a_key_is_itself(text in "\\PC{1,40}@\\PC{1,40}") {
        if let Ok(address) = Email::parse(&text) {
            prop_assert_eq!(canonical(address.key()), address.key());
            prop_assert_eq!(address.as_str(), text);
        }
    }

    #[test]
    fn reading_an_address_or_a_time_zone_never_panics(text in any::<String>()) {
        let _ = Email::parse(&text);
        let _ = TimeZone::parse(&text);
        let _ = is_common(&text);
    }
}

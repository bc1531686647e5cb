use super::*;

fn passwords(settings: Settings) -> Passwords {
    Passwords::new(Settings { threads: 2, ..settings }).unwrap()
}

fn secret(text: &str) -> SecretString {
    SecretString::from(text)
}

/// A hash as an earlier version may have made it.
fn weak(password: &str) -> PasswordHash {
    let params = Params::new(64, 1, 1, Some(HASH_LENGTH)).unwrap();
    let mut memory = Vec::new();
    let output = digest(&secret(password), &[7; 16], Version::V0x13, &params, &mut memory).unwrap();
    phc(&params, &[7; 16], &output).unwrap()
}

#[tokio::test]
async fn r_014_a_hash_is_argon2id_with_at_least_19_mib_two_passes_and_its_own_salt() {
    let passwords = passwords(Settings { memory: 1, passes: 1, ..Settings::default() });
    let one = passwords.hash(secret("correct horse")).await.unwrap();
    let two = passwords.hash(secret("correct horse")).await.unwrap();
    assert!(one.as_str().starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{}", one.as_str());
    assert_ne!(one, two);
    for hash in [one, two] {
        assert_eq!(passwords.verify(secret("correct horse"), Some(&hash)).await, Ok(Verdict::Right));
        assert_eq!(passwords.verify(secret("correct hors"), Some(&hash)).await, Ok(Verdict::Wrong));
    }
}

#[tokio::test]
async fn r_014_a_right_password_under_old_parameters_says_so() {
    let passwords = passwords(Settings::default());
    assert_eq!(
        passwords.verify(secret("correct horse"), Some(&weak("correct horse"))).await,
        Ok(Verdict::RightButWeak)
    );
    assert_eq!(passwords.verify(secret("battery"), Some(&weak("correct horse"))).await, Ok(Verdict::Wrong));
}

#[tokio::test]
async fn the_published_vector_of_another_implementation_is_verified() {
    // From the tests of the reference implementation: argon2id, 64 MiB, two passes, "password", "somesalt".
    let reference = PasswordHash::new(
        "$argon2id$v=19$m=65536,t=2,p=1$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc".into(),
    );
    let passwords = passwords(Settings::default());
    assert_eq!(passwords.verify(secret("password"), Some(&reference)).await, Ok(Verdict::Right));
}

#[tokio::test]
async fn r_011_passwords_that_agree_in_their_first_72_bytes_are_two() {
    let passwords = passwords(Settings::default());
    let long = "a".repeat(72);
    let hash = passwords.hash(secret(&format!("{long}1"))).await.unwrap();
    for (other, verdict) in [("1", Verdict::Right), ("2", Verdict::Wrong), ("", Verdict::Wrong), ("1 ", Verdict::Wrong)]
    {
        assert_eq!(passwords.verify(secret(&format!("{long}{other}")), Some(&hash)).await, Ok(verdict), "{other}");
    }
    assert_eq!(passwords.verify(secret(&format!("{}1", "A".repeat(72))), Some(&hash)).await, Ok(Verdict::Wrong));
}

#[tokio::test]
async fn r_005_no_account_costs_exactly_one_hash_and_is_never_right() {
    let passwords = passwords(Settings::default());
    for password in ["", "password", "\0"] {
        let before = passwords.hashes();
        assert_eq!(passwords.verify(secret(password), None).await, Ok(Verdict::Wrong));
        assert_eq!(passwords.hashes(), before + 1);
    }
}

#[tokio::test]
async fn what_is_more_than_the_queue_holds_is_refused_at_once() {
    let passwords = passwords(Settings { queue: 0, ..Settings::default() });
    assert_eq!(passwords.hash(secret("correct horse")).await, Err(Error::Overloaded));
    assert_eq!(passwords.verify(secret("correct horse"), None).await, Err(Error::Overloaded));
    assert_eq!(passwords.hashes(), 0);
}

#[tokio::test]
async fn memory_is_made_at_the_first_hash_and_given_back_when_idle() {
    let passwords = passwords(Settings { idle: Duration::from_millis(1), ..Settings::default() });
    assert_eq!(passwords.holding(), 0);
    for _ in 0..2 {
        passwords.hash(secret("correct horse")).await.unwrap();
        let given_back = async {
            while passwords.holding() > 0 {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(Duration::from_secs(10), given_back).await.unwrap();
    }
}

#[tokio::test]
async fn sixty_four_at_once_are_all_answered() {
    let passwords = Arc::new(passwords(Settings::default()));
    let hash = weak("correct horse");
    let tasks: Vec<_> = (0..64)
        .map(|_| {
            let (passwords, hash) = (passwords.clone(), hash.clone());
            tokio::spawn(async move { passwords.verify(secret("correct horse"), Some(&hash)).await })
        })
        .collect();
    for task in tasks {
        assert_eq!(task.await.unwrap(), Ok(Verdict::RightButWeak));
    }
    assert_eq!(passwords.hashes(), 64);
}

#[tokio::test]
async fn after_closing_nothing_is_hashed() {
    let passwords = passwords(Settings::default());
    passwords.close();
    assert_eq!(passwords.hash(secret("correct horse")).await, Err(Error::Overloaded));
}

#[tokio::test]
async fn a_stored_hash_that_is_none_is_an_error_and_no_verdict() {
    let passwords = passwords(Settings::default());
    for stored in [
        "",
        "plain",
        "$2b$12$abc",
        "$argon2id$v=19$m=64,t=1,p=1",
        "$argon2i$v=19$m=64,t=1,p=1$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc",
    ] {
        let verdict = passwords.verify(secret("correct horse"), Some(&PasswordHash::new(stored.into()))).await;
        assert!(matches!(verdict, Err(Error::Failed(_))), "{stored}");
    }
}

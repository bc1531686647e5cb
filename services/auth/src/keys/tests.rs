use errand_chassis::{clock::ManualClock, token::Verifier};
use secrecy::ExposeSecret;

use super::*;
use crate::store::sqlite::{MIGRATIONS, Sqlite};

struct Room {
    folder: tempfile::TempDir,
    clock: Arc<ManualClock>,
    published: KeySet,
    verifier: Verifier,
}

fn secret(byte: u8) -> Secret {
    Secret::new(&[byte; 32]).unwrap()
}

fn holder() -> Holder<'static> {
    Holder { user: UserId::from(Uuid::from_u128(1)), session: Uuid::from_u128(2), time_zone: "UTC" }
}

fn minutes(minutes: i64) -> SignedDuration {
    SignedDuration::from_mins(minutes)
}

impl Room {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        errand_storage::migrate::up(&folder.path().join("auth.db"), MIGRATIONS).unwrap();
        let clock = Arc::new(ManualClock::default());
        let published = KeySet::empty();
        let verifier = Verifier::new(published.clone(), clock.clone());
        Self { folder, clock, published, verifier }
    }

    async fn read(&self, secret: &Secret) -> Result<Keys, Error> {
        let store = Sqlite::open(&self.folder.path().join("auth.db")).unwrap();
        Keys::read(Arc::new(store), secret, self.clock.clone(), self.published.clone()).await
    }

    async fn keys(&self) -> Keys {
        let keys = self.read(&secret(5)).await.unwrap();
        keys.ensure().await.unwrap();
        keys
    }

    fn token(&self, keys: &Keys) -> String {
        keys.sign(holder()).unwrap().expose_secret().to_owned()
    }

    fn reason(&self, token: &str) -> &'static str {
        self.verifier.verify(token).map_or_else(|error| error.reason(), |_| "OK")
    }
}

fn kid(token: &str) -> String {
    jsonwebtoken::decode_header(token).unwrap().kid.unwrap()
}

#[tokio::test]
async fn the_first_start_makes_a_key_that_signs_at_once_and_the_second_finds_it() {
    let room = Room::new();
    let first = room.token(&room.keys().await);
    assert_eq!(room.reason(&first), "OK");
    let header = jsonwebtoken::decode_header(&first).unwrap();
    assert_eq!((header.typ.as_deref(), header.alg), (Some("at+jwt"), Algorithm::ES256));
    let second = room.token(&room.keys().await);
    assert_eq!(kid(&second), kid(&first));
    assert_eq!(room.reason(&first), "OK");
}

#[tokio::test]
async fn reading_makes_no_key() {
    let room = Room::new();
    let keys = room.read(&secret(5)).await.unwrap();
    assert_eq!((keys.list(), keys.public()), (Vec::new(), Vec::new()));
    assert!(matches!(keys.sign(holder()), Err(Error::Failed(_))));
    assert_eq!(room.reason("a.b.c"), "TOKEN_INVALID");
}

#[tokio::test]
async fn r_028_an_access_token_lives_fifteen_minutes() {
    let room = Room::new();
    let token = room.token(&room.keys().await);
    room.clock.advance(minutes(15) - SignedDuration::from_secs(1));
    assert_eq!(room.reason(&token), "OK");
    room.clock.advance(SignedDuration::from_secs(1) + LEEWAY + SignedDuration::from_secs(1));
    assert_eq!(room.reason(&token), "TOKEN_EXPIRED");
}

#[tokio::test]
async fn r_029_a_new_key_is_published_ten_minutes_before_it_signs_and_the_old_until_its_last_token_expired() {
    let room = Room::new();
    let keys = room.keys().await;
    let old = kid(&room.token(&keys));
    let new = keys.rotate().await.unwrap();
    let states = |keys: &Keys| keys.list().into_iter().map(|key| key.state).collect::<Vec<_>>();
    assert_eq!(states(&keys), [State::Signing, State::Waiting]);
    assert_eq!(keys.public().len(), 2);

    room.clock.advance(minutes(10) - SignedDuration::from_secs(1));
    let last = room.token(&keys);
    assert_eq!(kid(&last), old);
    room.clock.advance(SignedDuration::from_secs(1));
    let first = room.token(&keys);
    assert_eq!(kid(&first), new);
    assert_eq!(states(&keys), [State::Verifying, State::Signing]);

    // The last token of the old key is good for as long as it says.
    room.clock.advance(minutes(15) - SignedDuration::from_secs(1));
    keys.refresh().await.unwrap();
    assert_eq!((room.reason(&last), room.reason(&first)), ("OK", "OK"));
    room.clock.advance(LEEWAY + SignedDuration::from_secs(1));
    assert_eq!(keys.public().len(), 1);
    assert_eq!(states(&keys), [State::Retired, State::Signing]);
    keys.refresh().await.unwrap();
    assert_eq!(states(&keys), [State::Signing]);
    assert_eq!(room.reason(&last), "TOKEN_INVALID");
    assert_eq!(room.reason(&room.token(&keys)), "OK");
}

#[tokio::test]
async fn r_029_two_rotations_at_once_lose_no_token() {
    let room = Room::new();
    let keys = room.keys().await;
    let mut tokens = Vec::new();
    for minute in 0..60 {
        if minute == 3 || minute == 5 {
            keys.rotate().await.unwrap();
        }
        keys.refresh().await.unwrap();
        tokens.push((room.clock.now(), room.token(&keys)));
        for (made, token) in &tokens {
            let expected = if room.clock.now().duration_since(*made) <= minutes(15) { "OK" } else { "not OK" };
            assert_eq!(if room.reason(token) == "OK" { "OK" } else { "not OK" }, expected, "minute {minute}");
        }
        room.clock.advance(minutes(1));
    }
    assert_eq!(keys.list().len(), 1);
}

#[tokio::test]
async fn a_key_that_another_process_made_is_found() {
    let room = Room::new();
    let keys = room.keys().await;
    let other = room.keys().await;
    let new = other.rotate().await.unwrap();
    keys.refresh().await.unwrap();
    room.clock.advance(minutes(10));
    assert_eq!(kid(&room.token(&keys)), new);
}

#[tokio::test]
async fn keys_at_rest_open_only_with_the_secret_and_under_their_own_name() {
    let room = Room::new();
    let keys = room.keys().await;
    let stored = keys.store.signing_keys().await.unwrap();
    let error = room.read(&secret(6)).await.unwrap_err();
    assert!(error.to_string().contains("does not open with this secret key"), "{error}");
    let renamed = SealedKey { kid: "other".into(), ..stored[0].clone() };
    assert!(matches!(keys.unseal(&renamed), Err(Error::Sealed { .. })));
    let cut = SealedKey { sealed: vec![1; 5], ..stored[0].clone() };
    assert!(matches!(keys.unseal(&cut), Err(Error::Sealed { .. })));
    // PKCS #8 names the curve; sealed bytes must not.
    let curve = [0x2a, 0x86, 0x48, 0xce, 0x3d];
    assert!(!stored[0].sealed.windows(curve.len()).any(|window| window == curve));
}

#[tokio::test]
async fn a_clock_before_the_first_key_still_signs() {
    let room = Room::new();
    let keys = room.keys().await;
    room.clock.advance(minutes(-5));
    assert_eq!(room.reason(&room.token(&keys)), "OK");
}

#[tokio::test]
async fn nothing_prints_a_private_key() {
    let room = Room::new();
    let keys = room.keys().await;
    let stored = keys.store.signing_keys().await.unwrap();
    assert_eq!(format!("{keys:?}"), format!("[{:?}]", stored[0].kid));
    assert_eq!(format!("{:?}", stored[0]), format!("SealedKey {{ kid: {:?}, .. }}", stored[0].kid));
}

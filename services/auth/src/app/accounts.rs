//! Sign up, the profile, and the password.

use errand_changelog::{Known, Record, Request, UserId};
use secrecy::{ExposeSecret, SecretString};

use super::{App, Caller, Client, Credentials, TRIES, by_the_user};
use crate::{
    domain::{
        Fault,
        account::{self, Account, Email, PasswordHash, Patch, TimeZone},
    },
    error::Error,
    passwords::Verdict,
    store::{Beginning, Committed},
};

/// What somebody who signs up says.
#[derive(Debug)]
pub struct SignUp {
    /// The e-mail address.
    pub email: String,
    /// The password.
    pub password: SecretString,
    /// The name to show.
    pub display_name: String,
    /// The time zone; nothing means UTC.
    pub time_zone: String,
}

/// What somebody wants changed of the own account.
#[derive(Debug, Default)]
pub struct PatchMe {
    /// The new display name.
    pub display_name: Option<String>,
    /// The new time zone; empty means UTC.
    pub time_zone: Option<String>,
    /// The version that is meant, if one is.
    pub etag: Option<String>,
    /// Makes it safe to repeat.
    pub request: Option<Request>,
    /// Only say what would come of it.
    pub validate_only: bool,
}

impl App {
    /// Makes an account and opens its first session.
    ///
    /// # Errors
    /// When a rule is broken, the address is taken, or there were too many.
    pub async fn sign_up(&self, client: &Client, sign_up: SignUp) -> Result<(Account, Credentials), Error> {
        let (email, time_zone) = check_sign_up(&sign_up)?;
        self.throttles.sign_up(email.key(), client.address, self.now())?;
        let opened = self.open_account(client, sign_up, &email, &time_zone).await;
        if let Err(Error::Store(_) | Error::Keys(_)) = opened {
            self.throttles.sign_up_failed(email.key(), client.address);
        }
        opened
    }

    async fn open_account(
        &self,
        client: &Client,
        sign_up: SignUp,
        email: &Email,
        time_zone: &TimeZone,
    ) -> Result<(Account, Credentials), Error> {
        // Saves the hash; who is first is decided when it is stored.
        if self.store.owner_of_email(email.key()).await?.is_some() {
            return Err(Error::EmailTaken);
        }
        let password = self.passwords.hash(sign_up.password).await?;
        self.keys.fresh().await?;
        let owner = UserId::from(self.clock.id());
        let now = self.now();
        let account = Account {
            id: owner,
            email: email.as_str().to_owned(),
            display_name: sign_up.display_name,
            time_zone: time_zone.as_str().to_owned(),
            version: 0,
            create_time: now,
            update_time: now,
            disable_time: None,
        };
        let (held, refresh_token) = self.begin(client, now);
        let session = held.session.id;
        let beginning =
            Beginning { account, email_key: email.key().to_owned(), password, imported: None, held: Some(held) };
        let account = self.store.sign_up(owner, beginning, by_the_user()).await?.ok_or(Error::EmailTaken)?;
        let credentials = self.credentials(&account, session, refresh_token)?;
        Ok((account, credentials))
    }

    /// The caller's account.
    ///
    /// # Errors
    /// When it is gone.
    pub async fn me(&self, caller: &Caller) -> Result<Account, Error> {
        self.store.account(caller.user, None).await?.account.ok_or(Error::AccountDeleted)
    }

    /// Changes the caller's account.
    ///
    /// # Errors
    /// When the time zone is unknown, the version is not the one that is meant, the request id
    /// stands for another request, or the account is gone.
    pub async fn update_me(&self, caller: &Caller, wish: PatchMe) -> Result<Account, Error> {
        let time_zone = wish.time_zone.as_deref().map(TimeZone::parse).transpose();
        let time_zone = time_zone.map_err(|broken| Error::Invalid(vec![broken.at("user.timeZone")]))?;
        let patch = Patch { display_name: wish.display_name, time_zone };
        for _ in 0..TRIES {
            let request = wish.request.as_ref();
            let read = self.store.account(caller.user, request.map(|request| request.id.as_str())).await?;
            if let Some(answer) = judge(request, read.record)? {
                return Ok(answer);
            }
            let before = read.account.ok_or(Error::AccountDeleted)?;
            if wish.etag.as_ref().is_some_and(|etag| *etag != before.etag()) {
                return Err(Error::EtagMismatch { current: before.etag() });
            }
            let now = self.now();
            let after = before.patched(&patch, now);
            if wish.validate_only || after.is_none() && request.is_none() {
                return Ok(after.unwrap_or(before));
            }
            let origin = caller.origin(wish.request.clone());
            match self.store.update(caller.user, after.unwrap_or(before), origin, now).await? {
                Committed::Done(account) => return Ok(account),
                Committed::Known(record) => {
                    if let Some(answer) = judge(request, Some(record))? {
                        return Ok(answer);
                    }
                }
                Committed::Stale => {}
            }
        }
        Err(Error::Contended)
    }

    /// Sets a new password and ends every other session.
    ///
    /// # Errors
    /// When the current password is wrong, the new one breaks a rule, or too many were tried.
    pub async fn change_password(
        &self,
        caller: &Caller,
        client: &Client,
        current: SecretString,
        new: SecretString,
    ) -> Result<(), Error> {
        for _ in 0..TRIES {
            let credential = self.store.credential(caller.user).await?;
            let (account, verified) = credential.ok_or(Error::AccountDeleted)?;
            let broken = |broken: crate::domain::Broken| Error::Invalid(vec![broken.at("newPassword")]);
            // An address that was stored was one.
            let email = Email::parse(&account.email).map_err(broken)?;
            account::check_password(new.expose_secret(), &email).map_err(broken)?;
            self.check_current(email.key(), client, current.clone(), &verified).await?;
            let hash = self.passwords.hash(new.clone()).await?;
            let origin = caller.origin(None);
            // When the hash is another by now, the current password is to be asked again.
            let changed =
                self.store.change_password(caller.user, verified, hash, caller.session, origin, self.now()).await?;
            if changed {
                return Ok(());
            }
        }
        Err(Error::Contended)
    }

    /// Whether somebody who is signed in knows the password, too.
    pub(super) async fn check_current(
        &self,
        email_key: &str,
        client: &Client,
        current: SecretString,
        hash: &PasswordHash,
    ) -> Result<(), Error> {
        self.throttles.check(email_key, client.address, self.now())?;
        let is_right = self.passwords.verify(current, Some(hash)).await? != Verdict::Wrong;
        self.throttles.settle(email_key, client.address, is_right, self.now())?;
        if is_right { Ok(()) } else { Err(Error::CurrentPasswordWrong) }
    }
}

fn check_sign_up(sign_up: &SignUp) -> Result<(Email, TimeZone), Error> {
    let email = Email::parse(&sign_up.email).map_err(|broken| broken.at("email"));
    let time_zone = TimeZone::parse(&sign_up.time_zone).map_err(|broken| broken.at("timeZone"));
    let password = match &email {
        Ok(email) => account::check_password(sign_up.password.expose_secret(), email).map_err(|b| b.at("password")),
        Err(_) => Ok(()),
    };
    match (email, time_zone, password) {
        (Ok(email), Ok(time_zone), Ok(())) => Ok((email, time_zone)),
        (email, time_zone, password) => {
            let faults: [Option<Fault>; 3] = [email.err(), password.err(), time_zone.err()];
            Err(Error::Invalid(faults.into_iter().flatten().collect()))
        }
    }
}

/// The first answer when the request was seen before.
fn judge(request: Option<&Request>, record: Option<Record>) -> Result<Option<Account>, Error> {
    match request.map_or(Known::New, |request| request.judge(record)) {
        Known::New => Ok(None),
        Known::Replay(answer) => Ok(Some(serde_json::from_slice(&answer)?)),
        Known::Reused => Err(Error::RequestReused),
    }
}

//! What a user lets the assistant do.

use errand_changelog::{Request, Seq, UserId};

use super::{App, by_user};
use crate::{
    domain::rules::{Rules, Settings},
    error::Error,
    store::{NewSettings, Set},
};

impl App {
    /// What the owner has set.
    ///
    /// # Errors
    /// The store's.
    pub(crate) async fn settings(&self, owner: UserId) -> Result<Settings, Error> {
        Ok(self.store.settings(owner).await?)
    }

    /// What the operator lets tools do.
    pub(crate) fn rules(&self) -> &Rules {
        self.runner.rules()
    }

    /// Sets the owner's rules, all of them.
    ///
    /// # Errors
    /// [`Error::SettingsMismatch`], [`Error::RequestReused`], [`Error::Erased`], or the store's.
    pub(crate) async fn update_settings(
        &self,
        owner: UserId,
        rules: Rules,
        etag: &str,
        request: Option<Request>,
        validate_only: bool,
    ) -> Result<Settings, Error> {
        let stale = || Error::SettingsMismatch(etag.to_owned());
        let expected = match etag {
            "" => None,
            // What is no version of ours is the current version of nothing.
            etag => Some(Seq::from_str_radix(etag, 16).map_err(|_| stale())?),
        };
        if validate_only {
            let found = self.settings(owner).await?;
            return match expected {
                Some(expected) if expected != found.version => Err(stale()),
                _ => Ok(Settings { rules, ..found }),
            };
        }
        let name = request.as_ref().map(|request| request.id.clone()).unwrap_or_default();
        let new = NewSettings { expected, rules, now: self.clock.now() };
        match self.store.update_settings(owner, new, by_user(request)).await? {
            Set::Done(settings) => Ok(settings),
            Set::Reused => Err(Error::RequestReused(name)),
            Set::Stale => Err(stale()),
            Set::Erased => Err(Error::Erased),
        }
    }
}

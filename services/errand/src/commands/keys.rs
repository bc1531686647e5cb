//! `errand keys`: the keys that sign access tokens, in the auth service's database.
//!
//! A running server reads them again and again, so it need not be stopped: a new key is published
//! within a minute and signs ten minutes after it was made.

use std::sync::Arc;

use errand_auth::keys::State;
use errand_chassis::clock::{Clock, SystemClock};

use super::remote::block_on;
use crate::{
    cli::{Failure, Keys, Kind},
    config::Config,
    console,
    data::Folder,
    ground,
    roles::Role,
};

/// Runs `errand keys {list,rotate}`.
pub(crate) fn run(config: &Config, action: Keys) -> Result<(), Failure> {
    let folder = Folder::new(&config.data);
    let (place, secret) = (ground::place(config, Role::Auth), folder.secret()?);
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    block_on(async {
        match action {
            Keys::List => {
                let keys = errand_auth::list_keys(place, &secret, clock).await.map_err(|error| failed(&error))?;
                for key in keys {
                    let until = key.not_after.map_or_else(|| "open".to_owned(), |time| time.to_string());
                    let state = word(key.state);
                    console::say(format_args!("{}  {state:<9}  signs from {}  until {until}", key.kid, key.not_before));
                }
            }
            Keys::Rotate => {
                let kid = errand_auth::rotate_keys(place, &secret, clock).await.map_err(|error| failed(&error))?;
                console::say(format_args!("made {kid}: it signs in ten minutes, and the key before it verifies on"));
            }
        }
        Ok(())
    })
}

const fn word(state: State) -> &'static str {
    match state {
        State::Waiting => "waiting",
        State::Signing => "signing",
        State::Verifying => "verifying",
        State::Retired => "retired",
    }
}

fn failed(error: &errand_auth::Error) -> Failure {
    let kind = match error {
        errand_auth::Error::Storage(error) => ground::kind(error),
        _ => Kind::Failed,
    };
    Failure::new(kind, error)
}

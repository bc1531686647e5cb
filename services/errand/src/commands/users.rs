//! `errand users`: accounts, for who operates the service, beside a running server or without one.
//!
//! stdout has what was asked for, stderr what was refused. No hash is ever shown, and a password only once, when it was
//! made here.

use std::{
    fs::File,
    io::{self, BufRead, BufReader},
    path::Path,
    sync::Arc,
};

use errand_auth::app::{Imported, Operators, Refused};
use errand_chassis::clock::SystemClock;
use secrecy::ExposeSecret;
use tokio::task::JoinSet;

use super::remote::block_on;
use crate::{
    cli::{Failure, Kind, Users},
    config::Config,
    console, ground,
    roles::Role,
};

/// Accounts that are read at a time.
const PAGE: usize = 500;
/// Accounts that are imported at a time.
const AT_ONCE: usize = 64;
/// The most bytes of a line that is imported.
const LONGEST_LINE: usize = 16 * 1024;

/// Runs `errand users`.
pub(crate) fn run(config: &Config, action: &Users) -> Result<(), Failure> {
    block_on(async {
        let place = ground::place(config, Role::Auth);
        if let errand_storage::Place::File(path) = &place
            && !path.exists()
        {
            let folder = config.data.dir.display();
            return Err(Failure::new(Kind::NotReady, format!("there is no data in {folder} yet: start `errand` once")));
        }
        let operators = errand_auth::operators(place, Arc::new(SystemClock), config.auth.service()).await;
        let operators = Arc::new(operators.map_err(|error| not_open(&error))?);
        let outcome = match action {
            Users::List => list(&operators).await,
            Users::Disable { user } => set_disabled(&operators, user, true).await,
            Users::Enable { user } => set_disabled(&operators, user, false).await,
            Users::ResetPassword { user } => reset_password(&operators, user).await,
            Users::Import { file } => import(&operators, file).await,
        };
        operators.close().await;
        outcome
    })
}

async fn list(operators: &Operators) -> Result<(), Failure> {
    let mut last = None;
    loop {
        let mut page = operators.list(last.as_ref(), PAGE).await.map_err(|error| failed(&error))?;
        for account in &page {
            let state = if account.disable_time.is_some() { "disabled" } else { "enabled" };
            let (id, time, email, name) = (account.id, account.create_time, &account.email, &account.display_name);
            console::say(format!("{id}  {state:<8}  {time}  {email}  {name}").trim_end());
        }
        last = page.pop();
        if last.is_none() {
            return Ok(());
        }
    }
}

async fn set_disabled(operators: &Operators, user: &str, disabled: bool) -> Result<(), Failure> {
    let changed = operators.set_disabled(user, disabled).await.map_err(|error| failed(&error))?;
    console::say(match (changed.ok_or_else(|| nobody(user))?, disabled) {
        (true, true) => "disabled: its sessions have ended; access tokens from before end by themselves in 15 minutes",
        (true, false) => "enabled: it can log in again",
        (false, true) => "it is disabled already",
        (false, false) => "it is enabled already",
    });
    Ok(())
}

async fn reset_password(operators: &Operators, user: &str) -> Result<(), Failure> {
    let password = operators.reset_password(user).await.map_err(|error| failed(&error))?;
    console::say(password.ok_or_else(|| nobody(user))?.expose_secret());
    Ok(())
}

/// How an import went so far.
#[derive(Default)]
struct Tally {
    new: usize,
    known: usize,
    refused: Vec<(u64, String)>,
}

async fn import(operators: &Arc<Operators>, path: &Path) -> Result<(), Failure> {
    let unreadable = |error: io::Error| Failure::new(Kind::Failed, format!("can not read {}: {error}", path.display()));
    let mut lines = BufReader::new(File::open(path).map_err(unreadable)?).split(b'\n').zip(1..);
    let mut tally = Tally::default();
    let mut running = JoinSet::new();
    // Lines that are imported together share a sync of the disk.
    loop {
        let line = lines.next();
        let has_more = line.is_some();
        if let Some((line, number)) = line {
            let line: Vec<u8> = line.map_err(unreadable)?;
            if !line.trim_ascii().is_empty() {
                let operators = operators.clone();
                running.spawn(async move { (number, import_line(&operators, line).await) });
            }
        }
        while running.len() >= AT_ONCE || !has_more {
            match running.join_next().await {
                Some(Ok((number, outcome))) => tally.count(number, outcome)?,
                Some(Err(error)) => return Err(Failure::new(Kind::Failed, error)),
                None => return tally.told(),
            }
        }
    }
}

async fn import_line(operators: &Operators, line: Vec<u8>) -> Result<Imported, Problem> {
    if line.len() > LONGEST_LINE {
        return Err(Problem::Text("line must have at most 16 KiB"));
    }
    let line = String::from_utf8(line).map_err(|_| Problem::Text("line must be UTF-8"))?;
    operators.import(&line).await.map_err(Problem::Refused)
}

enum Problem {
    Text(&'static str),
    Refused(Refused),
}

impl Tally {
    fn count(&mut self, number: u64, outcome: Result<Imported, Problem>) -> Result<(), Failure> {
        match outcome {
            Ok(Imported::New) => self.new += 1,
            Ok(Imported::Known) => self.known += 1,
            Err(Problem::Refused(Refused::Error(error))) => {
                self.complain();
                let Failure { kind, message } = failed(&error);
                let advice = "what is in stays, so the same import can be run again";
                return Err(Failure::new(kind, format!("line {number}: {message}; {advice}")));
            }
            Err(Problem::Refused(refused)) => self.refused.push((number, refused.to_string())),
            Err(Problem::Text(text)) => self.refused.push((number, text.to_owned())),
        }
        Ok(())
    }

    fn told(&mut self) -> Result<(), Failure> {
        self.complain();
        let refused = self.refused.len();
        console::say(format_args!("imported {}, there already {}, refused {refused}", self.new, self.known));
        match refused {
            0 => Ok(()),
            1 => Err(Failure::new(Kind::Failed, "a line was refused; the others are in")),
            _ => Err(Failure::new(Kind::Failed, format!("{refused} lines were refused; the others are in"))),
        }
    }

    fn complain(&mut self) {
        self.refused.sort();
        for (number, why) in &self.refused {
            console::complain(&format!("line {number}: {why}"));
        }
    }
}

fn nobody(user: &str) -> Failure {
    Failure::new(Kind::Failed, format!("there is no account `{user}`: name its address or its id"))
}

fn not_open(error: &errand_auth::Error) -> Failure {
    let kind = match error {
        errand_auth::Error::Storage(error) => ground::kind(error),
        _ => Kind::Failed,
    };
    Failure::new(kind, error)
}

fn failed(error: &errand_auth::error::Error) -> Failure {
    let kind = match error {
        errand_auth::error::Error::Store(error) => ground::kind(error),
        _ => Kind::Failed,
    };
    Failure::new(kind, error)
}

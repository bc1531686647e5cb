//! One running suite in the shape that is tested: its processes, its data and clients for it.
//!
//! A shape is the module `shape` of the run: all in one process on SQLite, or each role in processes of its own on
//! PostgreSQL. Tests do not know which, except where they look at what a shape alone has.

pub(crate) mod door;
pub(crate) mod person;
pub(crate) mod process;
mod raw;
mod refusal;

use std::{
    net::SocketAddr,
    path::Path,
    sync::atomic::{AtomicU32, Ordering},
};

use errand_proto::auth::{
    Credentials, LogInRequest, RefreshTokenRequest, SignUpRequest, auth_service_client::AuthServiceClient,
};
use tonic::{
    Status,
    transport::{Channel, Endpoint},
};

use self::process::Process;
pub(crate) use self::{
    person::{Person, from_address, from_elsewhere, with_token},
    raw::raw,
    refusal::{reason, refusal, refused},
};
use crate::shape::Ground;

pub(crate) const PASSWORD: &str = "correct horse battery staple";

/// A running suite. Stopping it checks that no log holds a panic.
pub(crate) struct Sandbox {
    /// Where clients call.
    pub(crate) address: SocketAddr,
    /// The process that clients call is the last.
    pub(crate) processes: Vec<Process>,
    pub(crate) ground: Ground,
}

static PEOPLE: AtomicU32 = AtomicU32::new(1);

impl Sandbox {
    pub(crate) fn start() -> Self {
        Self::with(&[])
    }

    pub(crate) fn with(environment: &[(&str, &str)]) -> Self {
        Self::on(Ground::new(), environment)
    }

    pub(crate) fn on(ground: Ground, environment: &[(&str, &str)]) -> Self {
        let environment: Vec<_> =
            environment.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let (processes, address) = ground.start(&environment);
        Self { address, processes, ground }
    }

    /// The same data under new processes, after the old ones were killed without warning.
    pub(crate) fn kill_and_restart(&mut self) {
        self.kill();
        self.start_again();
    }

    pub(crate) fn kill(&mut self) {
        self.processes.iter_mut().for_each(Process::strike);
        self.exit_code();
    }

    pub(crate) fn start_again(&mut self) {
        self.address = Ground::restart(&mut self.processes);
    }

    /// Sends a signal by name, such as `TERM`, to all of it.
    pub(crate) fn signal(&self, name: &str) {
        self.processes.iter().for_each(|process| process.signal(name));
    }

    /// Waits until all of it has ended by itself; the first code that is no success, if there is one.
    pub(crate) fn exit_code(&mut self) -> Option<i32> {
        let codes: Vec<_> = self.processes.iter_mut().map(Process::wait).collect();
        codes.into_iter().find(|code| *code != Some(0)).unwrap_or(Some(0))
    }

    /// Ends one process after the other, the edge last, so that it can tell its clients what the others say at their end;
    /// the first code that is no success, if there is one.
    pub(crate) fn stop(&mut self) -> Option<i32> {
        let ends = self.processes.iter_mut().map(|process| {
            process.signal("TERM");
            process.wait()
        });
        let codes: Vec<_> = ends.collect();
        codes.into_iter().find(|code| *code != Some(0)).unwrap_or(Some(0))
    }

    /// The memory that the largest process has resident, in KiB.
    pub(crate) fn resident(&self) -> u64 {
        let resident = self.processes.iter().map(|process| {
            let status = std::fs::read_to_string(format!("/proc/{}/status", process.pid())).unwrap();
            let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
            line.split_whitespace().nth(1).unwrap().parse().unwrap()
        });
        resident.max().unwrap()
    }

    /// Everything that was printed.
    pub(crate) fn log(&self) -> String {
        self.processes.iter().map(Process::log).collect()
    }

    /// The data folder. A test of what is in there is over where there is none.
    pub(crate) fn folder(&self) -> Option<&Path> {
        self.ground.folder()
    }

    /// The first column of what a service's tables answer.
    pub(crate) async fn stored(&self, service: &str, sql: &str) -> Vec<String> {
        self.ground.stored(service, sql).await
    }

    /// Everything that a service stores, value by value, with its table.
    pub(crate) async fn contents(&self, service: &str) -> Vec<String> {
        self.ground.contents(service).await
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    pub(crate) async fn channel(&self) -> Channel {
        Endpoint::from_shared(self.url()).unwrap().connect().await.unwrap()
    }

    pub(crate) async fn auth(&self) -> AuthServiceClient<Channel> {
        AuthServiceClient::new(self.channel().await)
    }

    /// Signs a new person up, from an address of their own.
    pub(crate) async fn sign_up(&self) -> Person {
        let number = PEOPLE.fetch_add(1, Ordering::Relaxed);
        self.sign_up_as(&format!("person{number}@example.com")).await.unwrap()
    }

    pub(crate) async fn sign_up_as(&self, email: &str) -> Result<Person, Status> {
        let channel = self.channel().await;
        let request = SignUpRequest { email: email.to_owned(), password: PASSWORD.to_owned(), ..Default::default() };
        let answer = AuthServiceClient::new(channel.clone()).sign_up(from_elsewhere(request)).await?.into_inner();
        Ok(Person { user: answer.user.unwrap(), credentials: answer.credentials.unwrap(), channel })
    }

    pub(crate) async fn log_in(&self, email: &str) -> Result<Person, Status> {
        let channel = self.channel().await;
        let request = LogInRequest { email: email.to_owned(), password: PASSWORD.to_owned() };
        let answer = AuthServiceClient::new(channel.clone()).log_in(from_elsewhere(request)).await?.into_inner();
        Ok(Person { user: answer.user.unwrap(), credentials: answer.credentials.unwrap(), channel })
    }

    pub(crate) async fn refresh(&self, token: &str) -> Result<Credentials, Status> {
        let request = RefreshTokenRequest { refresh_token: token.to_owned() };
        Ok(self.auth().await.refresh_token(request).await?.into_inner().credentials.unwrap())
    }
}

/// `ERRAND_BATTERY=full` runs the size that the battery names.
pub(crate) fn rounds(quick: usize, full: usize) -> usize {
    #[expect(clippy::disallowed_methods, reason = "the size of the run")]
    let full_size = std::env::var("ERRAND_BATTERY").is_ok_and(|size| size == "full");
    if full_size { full } else { quick }
}

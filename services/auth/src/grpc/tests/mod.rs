//! The service through its whole stack, tokens and contract included, with a clock that stands still.

mod accounts;
mod deletion;
mod sessions;

use std::{future::Future, sync::Arc};

use errand_chassis::{
    address::ClientAddress,
    clock::{Clock, ManualClock},
    jwks::KeySet,
    secret::Secret,
    server,
    token::Verifier,
    upstream::Upstream,
};
use errand_proto::{
    auth::{
        ChangePasswordRequest, ChangePasswordResponse, Credentials, GetMeRequest, LogInRequest, LogInResponse,
        RefreshTokenRequest, SignUpRequest, SignUpResponse, UpdateMeRequest, User,
        auth_service_client::AuthServiceClient,
    },
    google::rpc,
    status,
};
use errand_storage::Place;
use jiff::SignedDuration;
use prost::Message;
use rusqlite::Connection;
use tonic::{Code, Request, Response, Status};

use crate::{Config, Dependencies, MIGRATIONS, Role};

const PASSWORD: &str = "correct horse battery";

/// A role in a folder of its own.
struct Room {
    folder: tempfile::TempDir,
    clock: Arc<ManualClock>,
    role: Role,
    upstream: Upstream,
}

/// A user with the newest credentials.
struct User1 {
    user: User,
    credentials: Credentials,
}

type Client = AuthServiceClient<Upstream>;

impl Room {
    async fn new() -> Self {
        Self::with(Config { sign_ups_per_email: 1000, sign_ups_per_address: 1000, ..Config::default() }).await
    }

    async fn with(config: Config) -> Self {
        let folder = tempfile::tempdir().unwrap();
        errand_storage::migrate::up(&folder.path().join("auth.db"), MIGRATIONS).unwrap();
        Self::open(folder, Arc::new(ManualClock::default()), config).await
    }

    async fn open(folder: tempfile::TempDir, clock: Arc<ManualClock>, config: Config) -> Self {
        Self::before(folder, clock, config, vec![]).await
    }

    /// A role that shares its users with these services. It does nothing by itself.
    async fn before(
        folder: tempfile::TempDir,
        clock: Arc<ManualClock>,
        config: Config,
        erase: Vec<(&'static str, Upstream)>,
    ) -> Self {
        let keys = KeySet::empty();
        let dependencies =
            Dependencies { clock: clock.clone(), secret: Secret::new(&[9; 32]).unwrap(), keys: keys.clone(), erase };
        let store = crate::store::sqlite::Sqlite::open(&folder.path().join("auth.db")).unwrap();
        let ready = store.ready();
        let app = crate::build(Arc::new(store), dependencies, config).await.unwrap();
        let role = Role { app, ready, housekeeping: tokio::spawn(async {}).abort_handle() };
        let verifier = Arc::new(Verifier::new(keys, clock.clone()));
        let upstream = server::role(role.routes(), verifier, clock.clone());
        Self { folder, clock, role, upstream }
    }

    /// The role after it was killed and started again.
    async fn again(self) -> Self {
        Self::open(self.folder, self.clock, Config::default()).await
    }

    fn client(&self) -> Client {
        AuthServiceClient::new(self.upstream.clone())
    }

    fn pass(&self, seconds: i64) {
        self.clock.advance(SignedDuration::from_secs(seconds));
    }

    fn hashes(&self) -> u64 {
        self.role.app().passwords.hashes()
    }

    fn database(&self) -> Connection {
        Connection::open(self.folder.path().join("auth.db")).unwrap()
    }

    fn count(&self, table: &str) -> u32 {
        self.database().query_row(&format!("SELECT count(*) FROM {table}"), [], |row| row.get(0)).unwrap()
    }

    async fn try_sign_up(&self, email: &str, password: &str) -> Result<SignUpResponse, Status> {
        let request = SignUpRequest { email: email.into(), password: password.into(), ..Default::default() };
        self.client().sign_up(request).await.map(Response::into_inner)
    }

    async fn sign_up(&self, email: &str) -> User1 {
        let answer = self.try_sign_up(email, PASSWORD).await.unwrap();
        User1 { user: answer.user.unwrap(), credentials: answer.credentials.unwrap() }
    }

    async fn log_in(&self, email: &str, password: &str) -> Result<LogInResponse, Status> {
        self.log_in_from("192.0.2.1", email, password).await
    }

    async fn log_in_from(&self, address: &str, email: &str, password: &str) -> Result<LogInResponse, Status> {
        let request = LogInRequest { email: email.into(), password: password.into() };
        self.client().log_in(from(address, request)).await.map(Response::into_inner)
    }

    async fn refresh(&self, token: &str) -> Result<Credentials, Status> {
        self.refresh_from("192.0.2.1", token).await
    }

    async fn refresh_from(&self, address: &str, token: &str) -> Result<Credentials, Status> {
        let request = RefreshTokenRequest { refresh_token: token.into() };
        let answer = self.client().refresh_token(from(address, request)).await?;
        Ok(answer.into_inner().credentials.unwrap())
    }

    async fn me(&self, access_token: &str) -> Result<User, Status> {
        self.client().get_me(bearing(access_token, GetMeRequest {})).await.map(Response::into_inner)
    }

    async fn update_me(&self, access_token: &str, request: UpdateMeRequest) -> Result<User, Status> {
        self.client().update_me(bearing(access_token, request)).await.map(Response::into_inner)
    }

    async fn change_password(
        &self,
        access_token: &str,
        current: &str,
        new: &str,
    ) -> Result<ChangePasswordResponse, Status> {
        let request = ChangePasswordRequest { current_password: current.into(), new_password: new.into() };
        let mut request = bearing(access_token, request);
        request.extensions_mut().insert(ClientAddress("192.0.2.1".parse().unwrap()));
        self.client().change_password(request).await.map(Response::into_inner)
    }
}

impl User1 {
    fn access(&self) -> &str {
        &self.credentials.access_token
    }

    fn refresh(&self) -> &str {
        &self.credentials.refresh_token
    }
}

fn from<T>(address: &str, message: T) -> Request<T> {
    let mut request = Request::new(message);
    request.extensions_mut().insert(ClientAddress(address.parse().unwrap()));
    request
}

fn bearing<T>(access_token: &str, message: T) -> Request<T> {
    let mut request = Request::new(message);
    request.metadata_mut().insert("authorization", format!("Bearer {access_token}").parse().unwrap());
    request
}

/// The code and the reason of a refusal.
fn refusal<T: std::fmt::Debug>(answer: Result<T, Status>) -> (Code, String) {
    let status = answer.unwrap_err();
    (status.code(), status::reason(&status).unwrap())
}

fn reason<T: std::fmt::Debug>(answer: Result<T, Status>) -> String {
    refusal(answer).1
}

/// A detail of a refusal.
fn detail<M: Message + Default>(status: &Status, name: &str) -> Option<M> {
    let decoded = rpc::Status::decode(status.details()).unwrap();
    let any = decoded.details.into_iter().find(|any| any.type_url.ends_with(name))?;
    Some(M::decode(any.value.as_slice()).unwrap())
}

fn violations(status: &Status) -> Vec<(String, String)> {
    let bad: rpc::BadRequest = detail(status, "/google.rpc.BadRequest").unwrap_or_default();
    bad.field_violations.into_iter().map(|violation| (violation.field, violation.reason)).collect()
}

/// `ERRAND_BATTERY=full` runs the size that the battery names.
fn rounds(quick: u32, full: u32) -> u32 {
    #[expect(clippy::disallowed_methods, reason = "the size of the run")]
    let full_size = std::env::var("ERRAND_BATTERY").is_ok_and(|size| size == "full");
    if full_size { full } else { quick }
}

/// Runs calls side by side.
async fn side_by_side<T, F>(calls: impl IntoIterator<Item = F>) -> Vec<T>
where
    T: Send + 'static,
    F: Future<Output = T> + Send + 'static,
{
    let tasks: Vec<_> = calls.into_iter().map(tokio::spawn).collect();
    let mut answers = Vec::new();
    for task in tasks {
        answers.push(task.await.unwrap());
    }
    answers
}

//! A role in a place of its own, and who calls it.

pub(super) use std::{future::Future, sync::Arc};

pub(super) use errand_chassis::{
    address::ClientAddress,
    clock::{Clock, ManualClock},
    jwks::KeySet,
    secret::Secret,
    server,
    token::Verifier,
    upstream::Upstream,
};
pub(super) use errand_cluster::Database;
pub(super) use errand_proto::{
    auth::{
        ChangePasswordRequest, ChangePasswordResponse, Credentials, GetMeRequest, LogInRequest, LogInResponse,
        RefreshTokenRequest, SignUpRequest, SignUpResponse, UpdateMeRequest, User,
        auth_service_client::AuthServiceClient,
    },
    google::rpc,
    status,
};
pub(super) use errand_storage::{Place, postgres::Settings};
pub(super) use jiff::SignedDuration;
pub(super) use prost::Message;
pub(super) use rusqlite::types::ValueRef;
pub(super) use secrecy::{ExposeSecret, SecretString};
pub(super) use tonic::{Code, Request, Response, Status};

pub(super) use crate::{
    Config, Dependencies, MIGRATIONS, Role, SCHEMA,
    store::{
        Store,
        postgres::{Postgres, tests::migrated},
    },
};

pub(super) const PASSWORD: &str = "correct horse battery";

/// Where a role keeps its data.
#[derive(Clone)]
pub(super) enum Home {
    Folder(Arc<tempfile::TempDir>),
    Server(Database),
}

/// A role in a home of its own: on PostgreSQL where one is wanted and installed, else on SQLite.
pub(super) struct Room<const SERVER: bool> {
    pub(super) home: Home,
    pub(super) clock: Arc<ManualClock>,
    pub(super) role: Role,
    server: Option<Postgres>,
    pub(super) upstream: Upstream,
}

/// A user with the newest credentials.
pub(super) struct User1 {
    pub(super) user: User,
    pub(super) credentials: Credentials,
}

pub(super) type Client = AuthServiceClient<Upstream>;

impl Home {
    fn new(server: bool) -> Self {
        if let Some(database) = server.then(migrated).flatten() {
            return Self::Server(database);
        }
        let folder = tempfile::tempdir().unwrap();
        errand_storage::migrate::up(&folder.path().join("auth.db"), MIGRATIONS).unwrap();
        Self::Folder(Arc::new(folder))
    }

    pub(super) fn place(&self) -> Place {
        match self {
            Self::Folder(folder) => Place::File(folder.path().join("auth.db")),
            Self::Server(database) => Place::Server(Settings::new(SecretString::from(database.url("errand_auth")))),
        }
    }
}

impl<const SERVER: bool> Room<SERVER> {
    pub(super) fn home() -> Home {
        Home::new(SERVER)
    }

    pub(super) async fn new() -> Self {
        Self::with(Config { sign_ups_per_email: 1000, sign_ups_per_address: 1000, ..Config::default() }).await
    }

    pub(super) async fn with(config: Config) -> Self {
        Self::open(Self::home(), Arc::new(ManualClock::default()), config).await
    }

    pub(super) async fn open(home: Home, clock: Arc<ManualClock>, config: Config) -> Self {
        Self::before(home, clock, config, vec![]).await
    }

    /// A role that shares its users with these services. It does nothing by itself.
    pub(super) async fn before(
        home: Home,
        clock: Arc<ManualClock>,
        config: Config,
        erase: Vec<(&'static str, Upstream)>,
    ) -> Self {
        let keys = KeySet::empty();
        let dependencies =
            Dependencies { clock: clock.clone(), secret: Secret::new(&[9; 32]).unwrap(), keys: keys.clone(), erase };
        let (store, ready, server) = match home.place() {
            Place::Server(settings) => {
                let store = Postgres::open(&settings, &SCHEMA).await.unwrap();
                (Arc::new(store.clone()) as Arc<dyn Store>, store.ready(), Some(store))
            }
            place @ Place::File(_) => {
                let (store, ready) = crate::open_store(place).await.unwrap();
                (store, ready, None)
            }
        };
        let app = crate::build(store, dependencies, config).await.unwrap();
        let role = Role { app, ready, housekeeping: tokio::spawn(async {}).abort_handle() };
        let verifier = Arc::new(Verifier::new(keys, clock.clone()));
        let upstream = server::role(role.routes(), verifier, clock.clone());
        Self { home, clock, role, server, upstream }
    }

    /// How many statements were sent; none on a file.
    pub(super) fn statements(&self) -> Option<u64> {
        self.server.as_ref().map(Postgres::statements)
    }

    /// The role after it was killed and started again.
    pub(super) async fn again(self) -> Self {
        Self::open(self.home, self.clock, Config::default()).await
    }

    pub(super) fn client(&self) -> Client {
        AuthServiceClient::new(self.upstream.clone())
    }

    pub(super) fn pass(&self, seconds: i64) {
        self.clock.advance(SignedDuration::from_secs(seconds));
    }

    pub(super) fn hashes(&self) -> u64 {
        self.role.app().passwords.hashes()
    }

    /// What a statement answers, as psql prints it without headers. Tables are named as on PostgreSQL.
    pub(super) fn run(&self, sql: &str) -> String {
        let folder = match &self.home {
            Home::Server(database) => return database.run(sql).trim_end().to_owned(),
            Home::Folder(folder) => folder,
        };
        let connection = rusqlite::Connection::open(folder.path().join("auth.db")).unwrap();
        let mut statement = connection.prepare(&sql.replace("auth.", "")).unwrap();
        let columns = statement.column_count();
        let mut rows = statement.query([]).unwrap();
        let mut lines = Vec::new();
        while let Some(row) = rows.next().unwrap() {
            let cells = (0..columns).map(|column| match row.get_ref(column).unwrap() {
                ValueRef::Null => String::new(),
                ValueRef::Integer(number) => number.to_string(),
                ValueRef::Text(text) => String::from_utf8(text.to_vec()).unwrap(),
                other => panic!("{other:?} is not printed"),
            });
            lines.push(cells.collect::<Vec<_>>().join("|"));
        }
        lines.join("\n")
    }

    pub(super) fn count(&self, table: &str) -> u32 {
        self.run(&format!("SELECT count(*) FROM auth.{table}")).parse().unwrap()
    }

    pub(super) async fn try_sign_up(&self, email: &str, password: &str) -> Result<SignUpResponse, Status> {
        let request = SignUpRequest { email: email.into(), password: password.into(), ..Default::default() };
        self.client().sign_up(request).await.map(Response::into_inner)
    }

    pub(super) async fn sign_up(&self, email: &str) -> User1 {
        let answer = self.try_sign_up(email, PASSWORD).await.unwrap();
        User1 { user: answer.user.unwrap(), credentials: answer.credentials.unwrap() }
    }

    pub(super) async fn log_in(&self, email: &str, password: &str) -> Result<LogInResponse, Status> {
        self.log_in_from("192.0.2.1", email, password).await
    }

    pub(super) async fn log_in_from(
        &self,
        address: &str,
        email: &str,
        password: &str,
    ) -> Result<LogInResponse, Status> {
        let request = LogInRequest { email: email.into(), password: password.into() };
        self.client().log_in(from(address, request)).await.map(Response::into_inner)
    }

    pub(super) async fn refresh(&self, token: &str) -> Result<Credentials, Status> {
        self.refresh_from("192.0.2.1", token).await
    }

    pub(super) async fn refresh_from(&self, address: &str, token: &str) -> Result<Credentials, Status> {
        let request = RefreshTokenRequest { refresh_token: token.into() };
        let answer = self.client().refresh_token(from(address, request)).await?;
        Ok(answer.into_inner().credentials.unwrap())
    }

    pub(super) async fn me(&self, access_token: &str) -> Result<User, Status> {
        self.client().get_me(bearing(access_token, GetMeRequest {})).await.map(Response::into_inner)
    }

    pub(super) async fn update_me(&self, access_token: &str, request: UpdateMeRequest) -> Result<User, Status> {
        self.client().update_me(bearing(access_token, request)).await.map(Response::into_inner)
    }

    pub(super) async fn change_password(
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
    pub(super) fn access(&self) -> &str {
        &self.credentials.access_token
    }

    pub(super) fn refresh(&self) -> &str {
        &self.credentials.refresh_token
    }
}

pub(super) fn from<T>(address: &str, message: T) -> Request<T> {
    let mut request = Request::new(message);
    request.extensions_mut().insert(ClientAddress(address.parse().unwrap()));
    request
}

pub(super) fn bearing<T>(access_token: &str, message: T) -> Request<T> {
    let mut request = Request::new(message);
    request.metadata_mut().insert("authorization", format!("Bearer {access_token}").parse().unwrap());
    request
}

/// The code and the reason of a refusal.
pub(super) fn refusal<T: std::fmt::Debug>(answer: Result<T, Status>) -> (Code, String) {
    let status = answer.unwrap_err();
    (status.code(), status::reason(&status).unwrap())
}

pub(super) fn reason<T: std::fmt::Debug>(answer: Result<T, Status>) -> String {
    refusal(answer).1
}

/// A detail of a refusal.
pub(super) fn detail<M: Message + Default>(status: &Status, name: &str) -> Option<M> {
    let decoded = rpc::Status::decode(status.details()).unwrap();
    let any = decoded.details.into_iter().find(|any| any.type_url.ends_with(name))?;
    Some(M::decode(any.value.as_slice()).unwrap())
}

pub(super) fn violations(status: &Status) -> Vec<(String, String)> {
    let bad: rpc::BadRequest = detail(status, "/google.rpc.BadRequest").unwrap_or_default();
    bad.field_violations.into_iter().map(|violation| (violation.field, violation.reason)).collect()
}

/// `ERRAND_BATTERY=full` runs the size that the battery names.
pub(super) fn rounds(quick: u32, full: u32) -> u32 {
    #[expect(clippy::disallowed_methods, reason = "the size of the run")]
    let full_size = std::env::var("ERRAND_BATTERY").is_ok_and(|size| size == "full");
    if full_size { full } else { quick }
}

/// Runs calls side by side.
pub(super) async fn side_by_side<T, F>(calls: impl IntoIterator<Item = F>) -> Vec<T>
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

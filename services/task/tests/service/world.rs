//! A task service on a fresh file or database, and users who hold real tokens.

use std::sync::Arc;

use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair};
use errand_chassis::{
    clock::{Clock, ManualClock},
    drain::Drain,
    jwks::{KeySet, PublicKey},
    secret::Secret,
    server,
    token::{self, Claims, Verifier},
    upstream::Upstream,
};
use errand_cluster::{Cluster, Database};
use errand_proto::task::{
    CompleteTaskRequest, CreateTaskRequest, DeleteTaskRequest, GetTaskRequest, ListTasksRequest, ListTasksResponse,
    ReopenTaskRequest, Task, UndeleteTaskRequest, UpdateTaskRequest, task_service_client::TaskServiceClient,
};
use errand_storage::{Place, postgres::Settings};
use errand_task::{Config, Dependencies, Role, SCHEMA};
use jiff::SignedDuration;
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use sqlx::{Connection as _, PgConnection};
use tempfile::TempDir;
use tonic::{Request, Status};
use uuid::Uuid;

use crate::ON_A_SERVER;

pub(crate) struct World {
    pub(crate) clock: Arc<ManualClock>,
    pub(crate) drain: Drain,
    keys: KeySet,
    signer: EncodingKey,
    pub(crate) home: Home,
    pub(crate) role: Role,
}

/// Where its tasks are.
pub(crate) enum Home {
    File(TempDir),
    Server(Database),
}

/// A signed-in user.
#[derive(Clone)]
pub(crate) struct User {
    client: TaskServiceClient<Upstream>,
    bearer: String,
}

impl World {
    pub(crate) async fn new() -> Self {
        let clock = Arc::new(ManualClock::default());
        let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap();
        let point = pair.public_key().as_ref();
        let keys = KeySet::empty();
        keys.publish(&[PublicKey { kid: "k".to_owned(), x: point[1..33].to_vec(), y: point[33..65].to_vec() }]);
        let signer = EncodingKey::from_ec_der(pair.to_pkcs8v1().unwrap().as_ref());
        let home = Home::new().await;
        let drain = Drain::new();
        let role = open(home.place(), &clock, &drain).await;
        Self { clock, drain, keys, signer, home, role }
    }

    /// Closes the service and opens it again.
    pub(crate) async fn restart(&mut self) {
        self.role.close().await;
        self.drain = Drain::new();
        self.role = open(self.home.place(), &self.clock, &self.drain).await;
    }

    /// How many rows each table has.
    pub(crate) async fn rows(&self) -> [(&'static str, i64); 5] {
        let tables = ["changes", "heads", "labels", "requests", "tasks"];
        match &self.home {
            Home::File(folder) => {
                let file = rusqlite::Connection::open(folder.path().join("task.db")).unwrap();
                tables.map(|table| {
                    let sql = format!("SELECT count(*) FROM {table}");
                    (table, file.query_row(&sql, [], |row| row.get(0)).unwrap())
                })
            }
            Home::Server(database) => {
                let mut all = PgConnection::connect(&database.url("postgres")).await.unwrap();
                let sql = "SELECT ARRAY[(SELECT count(*) FROM task.changes), (SELECT count(*) FROM task.heads),
                    (SELECT count(*) FROM task.labels), (SELECT count(*) FROM task.requests),
                    (SELECT count(*) FROM task.tasks)]";
                let counts: Vec<i64> = sqlx::query_scalar(sql).fetch_one(&mut all).await.unwrap();
                let mut counts = counts.into_iter();
                tables.map(|table| (table, counts.next().unwrap()))
            }
        }
    }

    /// Lets go of what is too old.
    pub(crate) async fn tidy(&self) {
        self.role.tidy().await.unwrap();
    }

    /// Lets a second pass.
    pub(crate) fn tick(&self) {
        self.clock.advance(SignedDuration::from_secs(1));
    }

    pub(crate) fn user(&self, number: u128) -> User {
        self.user_with(number, "tasks:read tasks:write")
    }

    pub(crate) fn user_with(&self, number: u128, scope: &str) -> User {
        self.user_of(&self.role, number, scope)
    }

    /// A user who calls one of several replicas.
    pub(crate) fn user_of(&self, role: &Role, number: u128, scope: &str) -> User {
        let now = self.clock.now().as_second();
        let claims = Claims {
            iss: token::ISSUER.to_owned(),
            aud: token::AUDIENCE.to_owned(),
            sub: Uuid::from_u128(number),
            sid: Uuid::from_u128(number),
            jti: self.clock.id(),
            iat: now,
            exp: now + token::ACCESS_LIFETIME.as_secs(),
            nbf: None,
            scope: scope.to_owned(),
            zoneinfo: String::new(),
        };
        let header =
            Header { typ: Some(token::TYPE.to_owned()), kid: Some("k".to_owned()), ..Header::new(Algorithm::ES256) };
        let raw = jsonwebtoken::encode(&header, &claims, &self.signer).unwrap();
        let verifier = Arc::new(Verifier::new(self.keys.clone(), self.clock.clone()));
        let role = server::role(role.routes(), verifier, self.clock.clone());
        User { client: TaskServiceClient::new(role), bearer: format!("Bearer {raw}") }
    }
}

pub(crate) async fn open(place: Place, clock: &Arc<ManualClock>, drain: &Drain) -> Role {
    let dependencies =
        Dependencies { clock: clock.clone(), secret: Secret::new(&[7; 32]).unwrap(), drain: drain.clone() };
    errand_task::open(place, dependencies, Config::default()).await.unwrap()
}

impl Home {
    /// A file also where PostgreSQL should be and is not installed.
    async fn new() -> Self {
        if let Some(cluster) = ON_A_SERVER.then(Cluster::shared).flatten() {
            let database = cluster.database();
            let settings = Settings::new(database.url("errand_migrate").into());
            errand_storage::postgres::migrate::up(&settings, &SCHEMA).await.unwrap();
            return Self::Server(database);
        }
        let folder = tempfile::tempdir().unwrap();
        errand_storage::migrate::up(&folder.path().join("task.db"), SCHEMA.sqlite).unwrap();
        Self::File(folder)
    }

    pub(crate) fn place(&self) -> Place {
        match self {
            Self::File(folder) => Place::File(folder.path().join("task.db")),
            Self::Server(database) => Place::Server(Settings::new(database.url("errand_task").into())),
        }
    }
}

impl User {
    pub(crate) async fn create(&self, request: CreateTaskRequest) -> Result<Task, Status> {
        Ok(self.client.clone().create_task(self.signed(request)).await?.into_inner())
    }

    pub(crate) async fn get(&self, id: &str) -> Result<Task, Status> {
        let request = GetTaskRequest { task_id: id.to_owned() };
        Ok(self.client.clone().get_task(self.signed(request)).await?.into_inner())
    }

    pub(crate) async fn list(&self, request: ListTasksRequest) -> Result<ListTasksResponse, Status> {
        Ok(self.client.clone().list_tasks(self.signed(request)).await?.into_inner())
    }

    pub(crate) async fn update(&self, request: UpdateTaskRequest) -> Result<Task, Status> {
        Ok(self.client.clone().update_task(self.signed(request)).await?.into_inner())
    }

    pub(crate) async fn complete(&self, request: CompleteTaskRequest) -> Result<Task, Status> {
        Ok(self.client.clone().complete_task(self.signed(request)).await?.into_inner())
    }

    pub(crate) async fn reopen(&self, request: ReopenTaskRequest) -> Result<Task, Status> {
        Ok(self.client.clone().reopen_task(self.signed(request)).await?.into_inner())
    }

    pub(crate) async fn delete(&self, request: DeleteTaskRequest) -> Result<Task, Status> {
        Ok(self.client.clone().delete_task(self.signed(request)).await?.into_inner())
    }

    pub(crate) async fn undelete(&self, request: UndeleteTaskRequest) -> Result<Task, Status> {
        Ok(self.client.clone().undelete_task(self.signed(request)).await?.into_inner())
    }

    pub(crate) fn client(&self) -> TaskServiceClient<Upstream> {
        self.client.clone()
    }

    pub(crate) fn signed<T>(&self, message: T) -> Request<T> {
        let mut request = Request::new(message);
        request.metadata_mut().insert("authorization", self.bearer.parse().unwrap());
        request
    }
}

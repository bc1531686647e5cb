//! A task service on a fresh file, and users who hold real tokens.

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
use errand_proto::task::{
    CompleteTaskRequest, CreateTaskRequest, DeleteTaskRequest, GetTaskRequest, ListTasksRequest, ListTasksResponse,
    ReopenTaskRequest, Task, UndeleteTaskRequest, UpdateTaskRequest, task_service_client::TaskServiceClient,
};
use errand_storage::Place;
use errand_task::{Config, Dependencies, Role, SCHEMA};
use jiff::SignedDuration;
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use tempfile::TempDir;
use tonic::{Request, Status};
use uuid::Uuid;

pub(crate) struct World {
    pub(crate) clock: Arc<ManualClock>,
    pub(crate) drain: Drain,
    keys: KeySet,
    signer: EncodingKey,
    folder: TempDir,
    role: Role,
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
        let folder = tempfile::tempdir().unwrap();
        errand_storage::migrate::up(&folder.path().join("task.db"), SCHEMA.sqlite).unwrap();
        let drain = Drain::new();
        let role = open(&folder, &clock, &drain).await;
        Self { clock, drain, keys, signer, folder, role }
    }

    /// Closes the service and opens it again.
    pub(crate) async fn restart(&mut self) {
        self.role.close().await;
        self.drain = Drain::new();
        self.role = open(&self.folder, &self.clock, &self.drain).await;
    }

    /// How many rows each table has.
    pub(crate) fn rows(&self) -> [(&'static str, i64); 5] {
        let file = rusqlite::Connection::open(self.folder.path().join("task.db")).unwrap();
        ["changes", "heads", "labels", "requests", "tasks"].map(|table| {
            let sql = format!("SELECT count(*) FROM {table}");
            (table, file.query_row(&sql, [], |row| row.get(0)).unwrap())
        })
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
        let role = server::role(self.role.routes(), verifier, self.clock.clone());
        User { client: TaskServiceClient::new(role), bearer: format!("Bearer {raw}") }
    }
}

async fn open(folder: &TempDir, clock: &Arc<ManualClock>, drain: &Drain) -> Role {
    let dependencies =
        Dependencies { clock: clock.clone(), secret: Secret::new(&[7; 32]).unwrap(), drain: drain.clone() };
    errand_task::open(Place::File(folder.path().join("task.db")), dependencies, Config::default()).await.unwrap()
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

//! One running errand: its process, its data folder and clients for it.

use std::{
    io::{BufRead, BufReader, Read},
    net::SocketAddr,
    path::Path,
    process::{Child, Command, Stdio},
    sync::{
        Arc, Mutex,
        atomic::{AtomicU32, Ordering},
    },
    thread::JoinHandle,
};

use bytes::{Buf, BufMut};
use errand_proto::{
    auth::{
        Credentials, LogInRequest, RefreshTokenRequest, SignUpRequest, User, auth_service_client::AuthServiceClient,
    },
    chat::{SendMessageRequest, SendMessageResponse, chat_service_client::ChatServiceClient},
    google::rpc,
    task::{CreateTaskRequest, ListTasksRequest, Task, task_service_client::TaskServiceClient},
};
use prost::Message as _;
use tempfile::TempDir;
use tonic::{
    Code, Request, Status,
    codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder},
    metadata::MetadataValue,
    transport::{Channel, Endpoint},
};

pub(crate) const PASSWORD: &str = "correct horse battery staple";

/// A running process. Stopping it checks that its log holds no panic.
pub(crate) struct Sandbox {
    pub(crate) data: TempDir,
    pub(crate) address: SocketAddr,
    environment: Vec<(String, String)>,
    child: Child,
    log: Arc<Mutex<String>>,
    readers: Vec<JoinHandle<()>>,
}

/// A signed-in user with clients that carry their token.
#[derive(Clone)]
pub(crate) struct Person {
    pub(crate) user: User,
    pub(crate) credentials: Credentials,
    pub(crate) channel: Channel,
}

/// What an error said, as its details have it.
#[derive(Debug)]
pub(crate) struct Refusal {
    pub(crate) code: Code,
    pub(crate) reason: String,
    pub(crate) fields: Vec<String>,
    pub(crate) request_id: String,
    pub(crate) retry_after: bool,
}

static PEOPLE: AtomicU32 = AtomicU32::new(1);

// === impl Sandbox ===

impl Sandbox {
    pub(crate) fn start() -> Self {
        Self::with(&[])
    }

    pub(crate) fn with(environment: &[(&str, &str)]) -> Self {
        let data = tempfile::tempdir().unwrap();
        Self::on(data, environment.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect())
    }

    fn on(data: TempDir, environment: Vec<(String, String)>) -> Self {
        let (child, address, log, readers) = spawn(data.path(), &environment);
        Self { data, address, environment, child, log, readers }
    }

    /// The same data under a new process, after the old one was killed without warning.
    pub(crate) fn kill_and_restart(&mut self) {
        self.kill();
        self.start_again();
    }

    pub(crate) fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        self.check_log();
    }

    pub(crate) fn start_again(&mut self) {
        let (child, address, log, readers) = spawn(self.data.path(), &self.environment);
        (self.child, self.address, self.log, self.readers) = (child, address, log, readers);
    }

    /// Sends a signal by name, such as `TERM`.
    pub(crate) fn signal(&self, name: &str) {
        let status = Command::new("kill").arg(format!("-{name}")).arg(self.child.id().to_string()).status().unwrap();
        assert!(status.success());
    }

    /// Waits for the process to end by itself.
    pub(crate) fn exit_code(&mut self) -> Option<i32> {
        self.child.wait().unwrap().code()
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Everything that the process printed.
    pub(crate) fn log(&mut self) -> String {
        self.log.lock().unwrap().clone()
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

    fn check_log(&mut self) {
        for reader in self.readers.drain(..) {
            reader.join().unwrap();
        }
        let log = self.log.lock().unwrap();
        assert!(!log.contains("panicked"), "a panic was logged:\n{log}");
        assert!(!log.contains("internal error"), "an internal error was logged:\n{log}");
    }
}

impl Drop for Sandbox {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if !std::thread::panicking() {
            self.check_log();
        }
    }
}

type Spawned = (Child, SocketAddr, Arc<Mutex<String>>, Vec<JoinHandle<()>>);

fn spawn(data: &Path, environment: &[(String, String)]) -> Spawned {
    let mut child = Command::new(env!("CARGO_BIN_EXE_errand"))
        .arg("serve")
        .env_clear()
        // Where a run that measures coverage wants its counts.
        .envs(std::env::vars_os().filter(|(name, _)| name == "LLVM_PROFILE_FILE"))
        .env("ERRAND_LISTEN", "127.0.0.1:0")
        .env("ERRAND_DATA_DIR", data)
        // Tests speak for many clients; each names its own address.
        .env("ERRAND_TRUSTED_PROXIES", "127.0.0.1")
        .env("ERRAND_LOG", "debug,h2=info,hyper=info")
        .envs(environment.iter().cloned())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let log = Arc::new(Mutex::new(String::new()));
    let mut readers = vec![drain(child.stderr.take().unwrap(), log.clone())];
    let mut out = BufReader::new(child.stdout.take().unwrap());
    let mut address = None;
    let mut line = String::new();
    while address.is_none() {
        line.clear();
        if out.read_line(&mut line).unwrap() == 0 {
            let status = child.wait().unwrap();
            readers.drain(..).for_each(|reader| reader.join().unwrap());
            panic!("errand ended with {status}:\n{}", log.lock().unwrap());
        }
        address = line.trim().strip_prefix("listening on http://").and_then(|rest| rest.parse().ok());
    }
    readers.push(drain(out, log.clone()));
    (child, address.unwrap(), log, readers)
}

fn drain(mut from: impl Read + Send + 'static, to: Arc<Mutex<String>>) -> JoinHandle<()> {
    std::thread::spawn(move || {
        let mut buffer = [0; 4096];
        while let Ok(count @ 1..) = from.read(&mut buffer) {
            to.lock().unwrap().push_str(&String::from_utf8_lossy(&buffer[..count]));
        }
    })
}

/// `ERRAND_BATTERY=full` runs the size that the battery names.
pub(crate) fn rounds(quick: usize, full: usize) -> usize {
    #[expect(clippy::disallowed_methods, reason = "the size of the run")]
    let full_size = std::env::var("ERRAND_BATTERY").is_ok_and(|size| size == "full");
    if full_size { full } else { quick }
}

/// A request from a network address that nobody else uses.
pub(crate) fn from_elsewhere<T>(message: T) -> Request<T> {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    from_address(message, &format!("10.{}.{}.{}", number >> 16 & 255, number >> 8 & 255, number & 255))
}

pub(crate) fn from_address<T>(message: T, address: &str) -> Request<T> {
    let mut request = Request::new(message);
    request.metadata_mut().insert("x-forwarded-for", address.parse().unwrap());
    request
}

// === impl Person ===

impl Person {
    pub(crate) fn token(&self) -> &str {
        &self.credentials.access_token
    }

    pub(crate) fn request<T>(&self, message: T) -> Request<T> {
        with_token(message, self.token())
    }

    pub(crate) fn auth(&self) -> AuthServiceClient<Channel> {
        AuthServiceClient::new(self.channel.clone())
    }

    pub(crate) fn tasks(&self) -> TaskServiceClient<Channel> {
        TaskServiceClient::new(self.channel.clone())
    }

    pub(crate) fn chat(&self) -> ChatServiceClient<Channel> {
        ChatServiceClient::new(self.channel.clone())
    }

    pub(crate) async fn create(&self, title: &str) -> Task {
        self.try_create(title, "").await.unwrap()
    }

    pub(crate) async fn try_create(&self, title: &str, request_id: &str) -> Result<Task, Status> {
        let request = CreateTaskRequest {
            task: Some(Task { title: title.to_owned(), ..Default::default() }),
            request_id: request_id.to_owned(),
            validate_only: false,
        };
        Ok(self.tasks().create_task(self.request(request)).await?.into_inner())
    }

    /// Every live task, page by page.
    pub(crate) async fn list(&self) -> Vec<Task> {
        let mut tasks = Vec::new();
        let mut page_token = String::new();
        loop {
            let request = ListTasksRequest { page_size: 200, page_token, ..Default::default() };
            let page = self.tasks().list_tasks(self.request(request)).await.unwrap().into_inner();
            tasks.extend(page.tasks);
            page_token = page.next_page_token;
            if page_token.is_empty() {
                return tasks;
            }
        }
    }

    pub(crate) async fn titles(&self) -> Vec<String> {
        self.list().await.into_iter().map(|task| task.title).collect()
    }

    pub(crate) async fn say(&self, conversation_id: &str, content: &str) -> SendMessageResponse {
        let request = SendMessageRequest {
            conversation_id: conversation_id.to_owned(),
            content: content.to_owned(),
            ..Default::default()
        };
        self.chat().send_message(self.request(request)).await.unwrap().into_inner()
    }
}

pub(crate) fn with_token<T>(message: T, token: &str) -> Request<T> {
    let mut request = Request::new(message);
    let value = MetadataValue::try_from(format!("Bearer {token}")).unwrap();
    request.metadata_mut().insert("authorization", value);
    request
}

/// Calls any method with any bytes, as a hostile client may.
pub(crate) async fn raw(
    channel: &Channel,
    path: &str,
    message: Vec<u8>,
    token: Option<&str>,
) -> Result<Vec<u8>, Status> {
    let mut client = tonic::client::Grpc::new(channel.clone());
    client.ready().await.unwrap();
    let request = match token {
        Some(token) => with_token(message, token),
        None => Request::new(message),
    };
    Ok(client.unary(request, path.parse().unwrap(), BytesCodec).await?.into_inner())
}

/// What an error said. Fails the test when it is one that no client may ever see.
pub(crate) fn refusal<T: std::fmt::Debug>(answer: Result<T, Status>) -> Refusal {
    let status = answer.expect_err("the call succeeded");
    assert!(!matches!(status.code(), Code::Internal | Code::Unknown | Code::DataLoss), "{status:?}");
    let decoded = rpc::Status::decode(status.details()).unwrap();
    assert_eq!(decoded.code, status.code() as i32);
    let mut refusal = Refusal {
        code: status.code(),
        reason: String::new(),
        fields: vec![],
        request_id: String::new(),
        retry_after: false,
    };
    for detail in decoded.details {
        let value = detail.value.as_slice();
        match detail.type_url.rsplit('.').next().unwrap() {
            "ErrorInfo" => {
                let info = rpc::ErrorInfo::decode(value).unwrap();
                assert_eq!(info.domain, "errand");
                assert_eq!(refusal.reason, "", "exactly one ErrorInfo");
                refusal.reason = info.reason;
            }
            "BadRequest" => {
                let bad = rpc::BadRequest::decode(value).unwrap();
                refusal.fields = bad.field_violations.into_iter().map(|violation| violation.field).collect();
            }
            "RequestInfo" => refusal.request_id = rpc::RequestInfo::decode(value).unwrap().request_id,
            "RetryInfo" => refusal.retry_after = true,
            _ => {}
        }
    }
    assert!(!refusal.reason.is_empty(), "an error without a reason: {status:?}");
    assert!(!refusal.request_id.is_empty(), "an error without the name of its call: {status:?}");
    refusal
}

/// Code and reason of an error.
pub(crate) fn reason<T: std::fmt::Debug>(answer: Result<T, Status>) -> (Code, String) {
    let refusal = refusal(answer);
    (refusal.code, refusal.reason)
}

pub(crate) fn refused(code: Code, reason: &str) -> (Code, String) {
    (code, reason.to_owned())
}

#[derive(Clone, Copy)]
struct BytesCodec;

impl Codec for BytesCodec {
    type Encode = Vec<u8>;
    type Decode = Vec<u8>;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        *self
    }

    fn decoder(&mut self) -> Self {
        *self
    }
}

impl Encoder for BytesCodec {
    type Item = Vec<u8>;
    type Error = Status;

    fn encode(&mut self, item: Vec<u8>, to: &mut EncodeBuf<'_>) -> Result<(), Status> {
        to.put_slice(&item);
        Ok(())
    }
}

impl Decoder for BytesCodec {
    type Item = Vec<u8>;
    type Error = Status;

    fn decode(&mut self, from: &mut DecodeBuf<'_>) -> Result<Option<Vec<u8>>, Status> {
        let mut bytes = vec![0; from.remaining()];
        from.copy_to_slice(&mut bytes);
        Ok(Some(bytes))
    }
}

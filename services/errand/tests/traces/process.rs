//! A running errand with the variables that a test gives it, and a person who uses it.

use std::{
    io::{BufRead, BufReader},
    net::SocketAddr,
    process::{Child, Command, Stdio},
    sync::{Arc, Mutex},
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use errand_proto::{
    auth::{SignUpRequest, auth_service_client::AuthServiceClient},
    chat::{SendMessageRequest, SendMessageResponse, chat_service_client::ChatServiceClient},
    task::{CreateTaskRequest, Task, task_service_client::TaskServiceClient},
};
use tokio::task::yield_now;
use tonic::{
    Code, Request, Status,
    metadata::MetadataValue,
    transport::{Channel, Endpoint},
};

/// A running process, killed when the test is over.
pub(crate) struct Process {
    child: Child,
    log: Arc<Mutex<Vec<String>>>,
    reader: Option<JoinHandle<()>>,
    /// Where it listens; nothing for a Unix socket.
    pub(crate) address: Option<SocketAddr>,
}

/// Somebody who has signed up.
pub(crate) struct Person {
    channel: Channel,
    token: String,
}

impl Process {
    /// Starts it with these arguments and, of the environment, nothing but these variables.
    pub(crate) fn start(arguments: &[&str], variables: &[(&str, &str)]) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_errand"));
        command.args(arguments).env_clear().env("ERRAND_LISTEN", "127.0.0.1:0").envs(variables.iter().copied());
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let log = Arc::new(Mutex::new(Vec::new()));
        let (kept, lines) = (log.clone(), BufReader::new(child.stderr.take().unwrap()).lines());
        let reader =
            thread::spawn(move || lines.map_while(Result::ok).for_each(|line| kept.lock().unwrap().push(line)));
        let said = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
        let place = said.into_iter().find_map(|line| line.strip_prefix("listening on ").map(str::to_owned));
        let place = place.unwrap_or_else(|| panic!("it did not start: {:#?}", log.lock().unwrap()));
        let address = place.strip_prefix("http://").map(|address| address.parse().unwrap());
        Self { child, log, reader: Some(reader), address }
    }

    /// Ends it as an operator would, and answers its log lines.
    pub(crate) fn stop(mut self) -> Vec<String> {
        let killed = Command::new("kill").arg("-TERM").arg(self.child.id().to_string()).status().unwrap();
        assert!(killed.success());
        assert_eq!(self.child.wait().unwrap().code(), Some(0));
        self.reader.take().unwrap().join().unwrap();
        let log = self.log.lock().unwrap().clone();
        assert!(!log.iter().any(|line| line.contains("panic")), "{log:#?}");
        log
    }

    pub(crate) async fn person(&self) -> Person {
        let channel =
            Endpoint::from_shared(format!("http://{}", self.address.unwrap())).unwrap().connect().await.unwrap();
        let request = SignUpRequest {
            email: "ada@example.com".to_owned(),
            password: "correct horse battery staple".to_owned(),
            ..Default::default()
        };
        let deadline = Instant::now() + Duration::from_secs(30);
        let answer = loop {
            // The peers of a process that has just started may not be there yet.
            match AuthServiceClient::new(channel.clone()).sign_up(request.clone()).await {
                Ok(answer) => break answer.into_inner(),
                Err(status) if status.code() == Code::Unavailable && Instant::now() < deadline => yield_now().await,
                Err(status) => panic!("{status:?}"),
            }
        };
        Person { channel, token: answer.credentials.unwrap().access_token }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended before.
        _ = self.child.kill();
        _ = self.child.wait();
    }
}

impl Person {
    /// A request that says where it comes from, `00-<trace>-<span>-<flags>`.
    pub(crate) fn request<T>(&self, message: T, place: &str) -> Request<T> {
        let mut request = Request::new(message);
        let token = MetadataValue::try_from(format!("Bearer {}", self.token)).unwrap();
        request.metadata_mut().insert("authorization", token);
        request.metadata_mut().insert("traceparent", place.parse().unwrap());
        request
    }

    pub(crate) fn tasks(&self) -> TaskServiceClient<Channel> {
        TaskServiceClient::new(self.channel.clone())
    }

    pub(crate) async fn create(&self, title: &str, place: &str) -> Result<Task, Status> {
        let task = Some(Task { title: title.to_owned(), ..Default::default() });
        let request = CreateTaskRequest { task, ..Default::default() };
        Ok(self.tasks().create_task(self.request(request, place)).await?.into_inner())
    }

    pub(crate) async fn say(&self, content: &str, place: &str) -> SendMessageResponse {
        let request = SendMessageRequest { content: content.to_owned(), ..Default::default() };
        let mut chat = ChatServiceClient::new(self.channel.clone());
        chat.send_message(self.request(request, place)).await.unwrap().into_inner()
    }
}

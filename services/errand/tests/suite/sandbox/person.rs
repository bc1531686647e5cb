//! A signed-in user, and what they say and ask most.

use std::sync::atomic::{AtomicU32, Ordering};

use errand_proto::{
    auth::{Credentials, User, auth_service_client::AuthServiceClient},
    chat::{SendMessageRequest, SendMessageResponse, chat_service_client::ChatServiceClient},
    task::{CreateTaskRequest, ListTasksRequest, Task, task_service_client::TaskServiceClient},
};
use tonic::{Request, Status, metadata::MetadataValue, transport::Channel};

/// A signed-in user with clients that carry their token.
#[derive(Clone)]
pub(crate) struct Person {
    pub(crate) user: User,
    pub(crate) credentials: Credentials,
    pub(crate) channel: Channel,
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

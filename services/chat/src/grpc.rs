//! errand.chat.v1.ChatService: decodes, calls `app`, encodes.

use std::mem::take;

use errand_changelog::{Fingerprint, Request as ChangeRequest, UserId};
use errand_chassis::{
    access::caller,
    deadline::{self, Deadline},
    request_id::RequestId,
};
use errand_proto::chat::{
    Conversation, CreateConversationRequest, GetConversationRequest, ListConversationsRequest,
    ListConversationsResponse, ListMessagesRequest, ListMessagesResponse, SendMessageRequest, SendMessageResponse,
    chat_service_server::ChatService,
};
use prost::Message;
use tonic::{Request, Response, Status};

use crate::{
    app::{App, Say, Voice, Wanted},
    convert::{self, Room},
    error::Error,
};

const SEND: &str = "/errand.chat.v1.ChatService/SendMessage";
const CREATE: &str = "/errand.chat.v1.ChatService/CreateConversation";
const LIST: &str = "/errand.chat.v1.ChatService/ListConversations";
const LIST_MESSAGES: &str = "/errand.chat.v1.ChatService/ListMessages";

/// The service as tonic calls it; cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Service(pub(crate) App);

#[tonic::async_trait]
impl ChatService for Service {
    async fn send_message(
        &self,
        request: Request<SendMessageRequest>,
    ) -> Result<Response<SendMessageResponse>, Status> {
        let caller = caller(&request)?.clone();
        let deadline = Deadline::of(request.extensions());
        let request_id = request.extensions().get::<RequestId>().cloned();
        let mut message = request.into_inner();
        let (name, validate_only) = (take(&mut message.request_id), take(&mut message.validate_only));
        let conversation = match message.conversation_id.as_str() {
            "" => None,
            id => Some(convert::id(id, "conversationId").map_err(refused)?),
        };
        let named = named(SEND, name, &message);
        let time_zone = match message.time_zone {
            zone if zone.is_empty() => (caller.time_zone, false),
            zone => (zone, true),
        };
        let say = Say { conversation, content: message.content, time_zone, request: named };
        if validate_only {
            let conversation = self.0.check(caller.user, say).await.map_err(refused)?;
            let conversation_id = conversation.map(|id| id.to_string()).unwrap_or_default();
            return Ok(Response::new(SendMessageResponse { conversation_id, ..Default::default() }));
        }
        let voice = Voice::new(caller.token.bearer(), request_id, deadline);
        let answering = self.0.send(caller.user, &voice, say);
        let answered = match deadline {
            Some(deadline) => tokio::time::timeout_at(deadline.instant(), answering)
                .await
                .map_err(|_| Status::from(deadline::exceeded()))?,
            None => answering.await,
        };
        Ok(Response::new(convert::answer(answered.map_err(refused)?)))
    }

    async fn create_conversation(
        &self,
        request: Request<CreateConversationRequest>,
    ) -> Result<Response<Conversation>, Status> {
        let (owner, mut message) = arrive(request)?;
        let (name, validate_only) = (take(&mut message.request_id), take(&mut message.validate_only));
        let request = named(CREATE, name, &message);
        let title = message.conversation.unwrap_or_default().title;
        let created = self.0.create_conversation(owner, title, request, validate_only).await.map_err(refused)?;
        Ok(Response::new(convert::conversation(created)))
    }

    async fn get_conversation(
        &self,
        request: Request<GetConversationRequest>,
    ) -> Result<Response<Conversation>, Status> {
        let (owner, message) = arrive(request)?;
        let id = convert::id(&message.conversation_id, "conversationId").map_err(refused)?;
        let found = self.0.conversation(owner, id).await.map_err(refused)?;
        Ok(Response::new(convert::conversation(found)))
    }

    async fn list_conversations(
        &self,
        request: Request<ListConversationsRequest>,
    ) -> Result<Response<ListConversationsResponse>, Status> {
        let (owner, message) = arrive(request)?;
        let wanted = Wanted { method: LIST, size: message.page_size, token: message.page_token };
        let page = self.0.conversations(owner, &wanted).await.map_err(refused)?;
        let conversations = page.items.into_iter().map(convert::conversation).collect();
        Ok(Response::new(ListConversationsResponse { conversations, next_page_token: page.next }))
    }

    async fn list_messages(
        &self,
        request: Request<ListMessagesRequest>,
    ) -> Result<Response<ListMessagesResponse>, Status> {
        let (owner, message) = arrive(request)?;
        let id = convert::id(&message.conversation_id, "conversationId").map_err(refused)?;
        let wanted = Wanted { method: LIST_MESSAGES, size: message.page_size, token: message.page_token };
        let page = self.0.messages(owner, id, &wanted).await.map_err(refused)?;
        let mut room = Room::default();
        let messages = page.items.into_iter().map(|said| convert::message(said, &mut room)).collect();
        Ok(Response::new(ListMessagesResponse { messages, next_page_token: page.next }))
    }
}

fn arrive<T>(request: Request<T>) -> Result<(UserId, T), Status> {
    let owner = caller(&request)?.user;
    Ok((owner, request.into_inner()))
}

/// Names the request, when the caller did. `canonical` is the message without its id and without
/// `validate_only`.
fn named(method: &'static str, id: String, canonical: &impl Message) -> Option<ChangeRequest> {
    if id.is_empty() {
        return None;
    }
    Some(ChangeRequest { id, method, fingerprint: Fingerprint::of(method, &canonical.encode_to_vec()) })
}

fn refused(error: Error) -> Status {
    errand_chassis::Error::from(error).into()
}

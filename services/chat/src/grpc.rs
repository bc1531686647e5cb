//! errand.chat.v1.ChatService: decodes, calls `app`, encodes.

use std::mem::take;

use errand_changelog::{Request as ChangeRequest, UserId};
use errand_chassis::{
    access::caller,
    deadline::{self, Deadline},
    replay,
    request_id::RequestId,
};
use errand_proto::chat::{
    ApprovalDecision, ApproveTurnRequest, CancelTurnRequest, Conversation, CreateConversationRequest,
    DeleteConversationRequest, DeleteConversationResponse, EraseMeRequest, EraseMeResponse, GetConversationRequest,
    GetSettingsRequest, ListConversationsRequest, ListConversationsResponse, ListMessagesRequest, ListMessagesResponse,
    ResumeTurnRequest, SendMessageRequest, SendMessageResponse, Settings, TurnEvent, UndoTurnRequest, UndoTurnResponse,
    UpdateConversationRequest, UpdateSettingsRequest, chat_service_server::ChatService,
};
use futures_util::{StreamExt, stream, stream::BoxStream};
use jiff::Timestamp;
use prost::Message;
use tonic::{Request, Response, Status};

use crate::{
    app::{App, Decision, Follower, Next, Say, Voice, Wanted},
    convert::{self, Room},
    error::Error,
};

const SEND: &str = "/errand.chat.v1.ChatService/SendMessage";
const CANCEL: &str = "/errand.chat.v1.ChatService/CancelTurn";
const APPROVE: &str = "/errand.chat.v1.ChatService/ApproveTurn";
const UNDO: &str = "/errand.chat.v1.ChatService/UndoTurn";
const SET: &str = "/errand.chat.v1.ChatService/UpdateSettings";
const UPDATE: &str = "/errand.chat.v1.ChatService/UpdateConversation";
const DELETE: &str = "/errand.chat.v1.ChatService/DeleteConversation";
const CREATE: &str = "/errand.chat.v1.ChatService/CreateConversation";
const LIST: &str = "/errand.chat.v1.ChatService/ListConversations";
const LIST_MESSAGES: &str = "/errand.chat.v1.ChatService/ListMessages";

type Events = BoxStream<'static, Result<TurnEvent, Status>>;

/// The service as tonic calls it; cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Service(pub(crate) App);

#[tonic::async_trait]
impl ChatService for Service {
    type StreamMessageStream = Events;
    type ResumeTurnStream = Events;

    async fn send_message(
        &self,
        request: Request<SendMessageRequest>,
    ) -> Result<Response<SendMessageResponse>, Status> {
        let (speaker, message) = Speaker::of(request)?;
        let (say, validate_only) = said(message, &speaker)?;
        if validate_only {
            let conversation = self.0.check(speaker.owner, say).await.map_err(refused)?;
            let conversation_id = conversation.map(|id| id.to_string()).unwrap_or_default();
            return Ok(Response::new(SendMessageResponse { conversation_id, ..Default::default() }));
        }
        let replayed = replay::of(say.request.as_ref());
        let answering = self.0.send(speaker.owner, &speaker.voice, say);
        let answered = in_time(speaker.deadline, answering).await?.map_err(refused)?;
        Ok(replay::answer(convert::answer(answered), replayed))
    }

    async fn stream_message(&self, request: Request<SendMessageRequest>) -> Result<Response<Events>, Status> {
        let (speaker, message) = Speaker::of(request)?;
        let (say, validate_only) = said(message, &speaker)?;
        if validate_only {
            self.0.check(speaker.owner, say).await.map_err(refused)?;
            return Ok(Response::new(stream::empty().boxed()));
        }
        let Speaker { owner, voice, until, .. } = speaker;
        let replayed = replay::of(say.request.as_ref());
        let follower = self.0.stream(owner, voice, say, until).await.map_err(refused)?;
        Ok(replay::answer(events(follower), replayed))
    }

    async fn resume_turn(&self, request: Request<ResumeTurnRequest>) -> Result<Response<Events>, Status> {
        let (Speaker { owner, voice, until, .. }, message) = Speaker::of(request)?;
        let turn = convert::id(&message.turn_id, "turnId").map_err(refused)?;
        let after = usize::try_from(message.after_seq).map_err(|_| refused(Error::AfterSeq))?;
        let follower = self.0.resume(owner, voice, turn, after, until).await.map_err(refused)?;
        Ok(Response::new(events(follower)))
    }

    async fn cancel_turn(&self, request: Request<CancelTurnRequest>) -> Result<Response<SendMessageResponse>, Status> {
        let (speaker, mut message) = Speaker::of(request)?;
        let (name, validate_only) = (take(&mut message.request_id), take(&mut message.validate_only));
        let turn = convert::id(&message.turn_id, "turnId").map_err(refused)?;
        if validate_only {
            self.0.check_cancel(speaker.owner, turn).await.map_err(refused)?;
            return Ok(Response::new(SendMessageResponse { turn_id: message.turn_id, ..Default::default() }));
        }
        let request = named(CANCEL, name, &message);
        let replayed = replay::of(request.as_ref());
        let cancelling = self.0.cancel(speaker.owner, &speaker.voice, turn, request);
        let answered = in_time(speaker.deadline, cancelling).await?.map_err(refused)?;
        Ok(replay::answer(convert::answer(answered), replayed))
    }

    async fn approve_turn(
        &self,
        request: Request<ApproveTurnRequest>,
    ) -> Result<Response<SendMessageResponse>, Status> {
        let (speaker, mut message) = Speaker::of(request)?;
        let (name, validate_only) = (take(&mut message.request_id), take(&mut message.validate_only));
        let is_yes = match message.decision() {
            ApprovalDecision::Approve => true,
            ApprovalDecision::Decline => false,
            ApprovalDecision::Unspecified => return Err(refused(Error::Undecided)),
        };
        let turn = convert::id(&message.turn_id, "turnId").map_err(refused)?;
        let request = named(APPROVE, name, &message);
        let decision = Decision { turn, hash: message.hash, is_yes, time_zone: speaker.time_zone, request };
        if validate_only {
            let (conversation, approval) = self.0.check_decision(speaker.owner, &decision).await.map_err(refused)?;
            return Ok(Response::new(convert::question(conversation, &approval)));
        }
        let replayed = replay::of(decision.request.as_ref());
        let deciding = self.0.decide(speaker.owner, &speaker.voice, decision);
        let answered = in_time(speaker.deadline, deciding).await?.map_err(refused)?;
        Ok(replay::answer(convert::answer(answered), replayed))
    }

    async fn undo_turn(&self, request: Request<UndoTurnRequest>) -> Result<Response<UndoTurnResponse>, Status> {
        let (Speaker { owner, voice, time_zone, deadline, .. }, mut message) = Speaker::of(request)?;
        let (name, validate_only) = (take(&mut message.request_id), take(&mut message.validate_only));
        let turn = convert::id(&message.turn_id, "turnId").map_err(refused)?;
        let request = named(UNDO, name, &message);
        let replayed = replay::of(request.as_ref());
        let undoing = async {
            if validate_only {
                return self.0.preview_undo(owner, &voice, turn).await;
            }
            self.0.undo(owner, &voice, turn, time_zone, request).await
        };
        let undone = in_time(deadline, undoing).await?.map_err(refused)?;
        Ok(replay::answer(convert::undone(&undone), replayed))
    }

    async fn update_conversation(
        &self,
        request: Request<UpdateConversationRequest>,
    ) -> Result<Response<Conversation>, Status> {
        let (owner, mut message) = arrive(request)?;
        let (name, validate_only) = (take(&mut message.request_id), take(&mut message.validate_only));
        let request = named(UPDATE, name, &message);
        let replayed = replay::of(request.as_ref());
        let change = convert::change(message.conversation.unwrap_or_default(), message.update_mask).map_err(refused)?;
        let updated = self.0.update_conversation(owner, change, request, validate_only).await.map_err(refused)?;
        Ok(replay::answer(convert::conversation(updated), replayed))
    }

    async fn delete_conversation(
        &self,
        request: Request<DeleteConversationRequest>,
    ) -> Result<Response<DeleteConversationResponse>, Status> {
        let (owner, mut message) = arrive(request)?;
        let (name, validate_only) = (take(&mut message.request_id), take(&mut message.validate_only));
        let request = named(DELETE, name, &message);
        let replayed = replay::of(request.as_ref());
        let id = convert::id(&message.conversation_id, "conversationId").map_err(refused)?;
        self.0.delete_conversation(owner, id, request, validate_only).await.map_err(refused)?;
        Ok(replay::answer(DeleteConversationResponse {}, replayed))
    }

    async fn get_settings(&self, request: Request<GetSettingsRequest>) -> Result<Response<Settings>, Status> {
        let (owner, _) = arrive(request)?;
        let found = self.0.settings(owner).await.map_err(refused)?;
        Ok(Response::new(convert::settings::settings(&found, self.0.rules())))
    }

    async fn update_settings(&self, request: Request<UpdateSettingsRequest>) -> Result<Response<Settings>, Status> {
        let (owner, mut message) = arrive(request)?;
        let (name, validate_only) = (take(&mut message.request_id), take(&mut message.validate_only));
        let request = named(SET, name, &message);
        let replayed = replay::of(request.as_ref());
        let wanted = message.settings.unwrap_or_default();
        let rules = convert::settings::rules(&wanted, message.update_mask).map_err(refused)?;
        let set = self.0.update_settings(owner, rules, &wanted.etag, request, validate_only).await.map_err(refused)?;
        Ok(replay::answer(convert::settings::settings(&set, self.0.rules()), replayed))
    }

    async fn erase_me(&self, request: Request<EraseMeRequest>) -> Result<Response<EraseMeResponse>, Status> {
        let (owner, _) = arrive(request)?;
        self.0.erase(owner).await.map_err(refused)?;
        Ok(Response::new(EraseMeResponse {}))
    }

    async fn create_conversation(
        &self,
        request: Request<CreateConversationRequest>,
    ) -> Result<Response<Conversation>, Status> {
        let (owner, mut message) = arrive(request)?;
        let (name, validate_only) = (take(&mut message.request_id), take(&mut message.validate_only));
        let request = named(CREATE, name, &message);
        let replayed = replay::of(request.as_ref());
        let title = message.conversation.unwrap_or_default().title;
        let created = self.0.create_conversation(owner, title, request, validate_only).await.map_err(refused)?;
        Ok(replay::answer(convert::conversation(created), replayed))
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

/// Who speaks, and with what.
struct Speaker {
    owner: UserId,
    voice: Voice,
    time_zone: String,
    deadline: Option<Deadline>,
    until: Timestamp,
}

impl Speaker {
    fn of<T>(request: Request<T>) -> Result<(Self, T), Status> {
        let caller = caller(&request)?.clone();
        let deadline = Deadline::of(request.extensions());
        let request_id = request.extensions().get::<RequestId>().cloned();
        let voice = Voice::new(caller.token.bearer(), request_id, deadline);
        let (owner, time_zone, until) = (caller.user, caller.time_zone, caller.expires);
        Ok((Self { owner, voice, time_zone, deadline, until }, request.into_inner()))
    }
}

/// What is said, and whether it is only to be checked. Sent or streamed, the same request is the same.
fn said(mut message: SendMessageRequest, speaker: &Speaker) -> Result<(Say, bool), Status> {
    let (name, validate_only) = (take(&mut message.request_id), take(&mut message.validate_only));
    let conversation = match message.conversation_id.as_str() {
        "" => None,
        id => Some(convert::id(id, "conversationId").map_err(refused)?),
    };
    let request = named(SEND, name, &message);
    let time_zone = match message.time_zone {
        zone if zone.is_empty() => (speaker.time_zone.clone(), false),
        zone => (zone, true),
    };
    Ok((Say { conversation, after: None, content: message.content, time_zone, request }, validate_only))
}

/// The events of a turn as they are sent.
fn events(follower: Follower) -> Events {
    stream::unfold(follower, |mut follower| async move {
        let sent = match follower.next().await? {
            Next::Event { conversation, step, event } => {
                Ok(convert::events::event(follower.turn(), conversation, step, event))
            }
            Next::Words { conversation, words } => Ok(convert::events::words(follower.turn(), conversation, words)),
            Next::Handover(after) => Ok(convert::events::handover(follower.turn(), after)),
            Next::Failed(error) => Err(refused(error)),
        };
        Some((sent, follower))
    })
    .boxed()
}

async fn in_time<T>(deadline: Option<Deadline>, work: impl Future<Output = T>) -> Result<T, Status> {
    match deadline {
        Some(deadline) => {
            tokio::time::timeout_at(deadline.instant(), work).await.map_err(|_| deadline::exceeded().into())
        }
        None => Ok(work.await),
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
    Some(ChangeRequest::new(id, method, &canonical.encode_to_vec()))
}

fn refused(error: Error) -> Status {
    errand_chassis::Error::from(error).into()
}

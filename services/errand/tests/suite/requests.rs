//! A valid request for every method, made from the descriptors, so that a method that is new can not be forgotten.

use errand_proto::{POOL, contract::Method};
use prost::Message;
use prost_reflect::{Cardinality, DynamicMessage, FieldDescriptor, Kind, MessageDescriptor, Value};

use crate::sandbox::{PASSWORD, Person};

/// What somebody has that a request can name.
#[derive(Debug, Clone)]
pub(crate) struct Names {
    pub(crate) task: String,
    pub(crate) conversation: String,
    pub(crate) turn: String,
    pub(crate) session: String,
}

impl Names {
    /// Gives a person one thing of each kind.
    pub(crate) async fn of(person: &Person, word: &str) -> Self {
        let task = person.create(word).await;
        let said = person.say("", &format!("add {word} too")).await;
        let sessions = person.auth().list_sessions(person.request(Default::default())).await.unwrap().into_inner();
        Self {
            task: task.id,
            conversation: said.conversation_id,
            turn: said.turn_id,
            session: sessions.sessions[0].id.clone(),
        }
    }

    /// Things that nobody has.
    pub(crate) fn of_nobody() -> Self {
        let id = |number: u32| format!("01890000-0000-7000-8000-{number:012}");
        Self { task: id(1), conversation: id(2), turn: id(3), session: id(4) }
    }

    /// A text in which these names are replaced.
    pub(crate) fn hide(&self, text: &str) -> String {
        [(&self.task, "TASK"), (&self.conversation, "CONVERSATION"), (&self.turn, "TURN"), (&self.session, "SESSION")]
            .into_iter()
            .fold(text.to_owned(), |text, (name, word)| text.replace(name, word))
    }
}

/// A request that a person who has these things may make.
pub(crate) fn request(method: &Method, names: &Names) -> Vec<u8> {
    message(&POOL.get_message_by_name(method.input).unwrap(), names, "").encode_to_vec()
}

/// Whether requests of this method name something that somebody has.
pub(crate) fn names_something(method: &Method, names: &Names) -> bool {
    request(method, names) != request(method, &Names::of_nobody())
}

fn message(descriptor: &MessageDescriptor, names: &Names, within: &str) -> DynamicMessage {
    let mut message = DynamicMessage::new(descriptor.clone());
    for field in descriptor.fields() {
        // Of several ways to say it, the first.
        if field.containing_oneof().is_some_and(|oneof| oneof.fields().any(|other| message.has_field(&other))) {
            continue;
        }
        if let Some(value) = value(&field, names, within) {
            message.set_field(&field, value);
        }
    }
    message
}

fn value(field: &FieldDescriptor, names: &Names, within: &str) -> Option<Value> {
    let one = match field.kind() {
        Kind::Message(inner) if inner.package_name().starts_with("errand.") => {
            Value::Message(message(&inner, names, field.parent_message().name()))
        }
        Kind::Enum(_) if field.name() == "decision" => Value::EnumNumber(1),
        Kind::String => Value::String(text(field, names, within)?),
        _ => return None,
    };
    Some(if field.cardinality() == Cardinality::Repeated { Value::List(vec![one]) } else { one })
}

/// The words for a field that has to be there, by its name.
fn text(field: &FieldDescriptor, names: &Names, within: &str) -> Option<String> {
    let text = match (field.parent_message().name(), field.name()) {
        // Who makes something does not name it.
        (_, "id") if !within.contains("Update") => return None,
        ("Task", "id") | (_, "task_id") => &names.task,
        ("Conversation", "id") | (_, "conversation_id") => &names.conversation,
        (_, "turn_id") => &names.turn,
        (_, "session_id") => &names.session,
        (_, "title") => "changed by a request",
        (_, "content") => "hello",
        ("ToolSetting", "tool") => "delete_tasks",
        (_, "hash") => "5f70bf18a086007016e948b04aed3b82103a36bea41755b6cddfaf10ace3c6ef",
        (_, "email") => "somebody@example.com",
        (_, "password" | "current_password") => PASSWORD,
        (_, "new_password") => "another good passphrase",
        (_, "refresh_token") => "none",
        ("User", "display_name") => "Somebody",
        _ => return None,
    };
    Some(text.to_owned())
}

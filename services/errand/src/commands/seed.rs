//! `errand seed`: a demo account with tasks and a conversation, made through the public interface.
//!
//! It is a client like any other: what it may do, everybody may do. An account that has tasks
//! already is left as it is.

use std::fmt::Write;

use errand_chassis::{
    clock::{Clock, SystemClock},
    upstream::Upstream,
};
use errand_proto::{
    auth::{Credentials, LogInRequest, SignUpRequest, auth_service_client::AuthServiceClient},
    chat::{SendMessageRequest, chat_service_client::ChatServiceClient},
    status,
    task::{
        CompleteTaskRequest, CreateTaskRequest, ListTasksRequest, Priority, Task,
        task_service_client::TaskServiceClient,
    },
};
use jiff::{ToSpan, Zoned, tz::TimeZone};
use prost_types::Timestamp;
use tonic::{Request, metadata::AsciiMetadataValue};

use super::remote::{self, refused};
use crate::{
    cli::{Failure, Kind, Seed},
    config::Config,
    console, data,
};

/// A task of the demo: title, description, priority, days from today and hour, labels.
type Sample = (&'static str, &'static str, Priority, Option<(i64, i8)>, &'static [&'static str]);

const TASKS: [Sample; 8] = [
    ("Buy oat milk", "Two cartons", Priority::Unspecified, Some((0, 18)), &["shopping"]),
    ("Call the dentist", "Ask for a morning appointment", Priority::High, Some((1, 9)), &["health"]),
    ("Send the invoice to Mara", "", Priority::High, Some((2, 12)), &["work"]),
    ("Prepare the team retrospective", "Three questions, one hour", Priority::Medium, Some((3, 15)), &["work"]),
    ("Renew the library books", "", Priority::Low, Some((5, 17)), &["home"]),
    ("Book train tickets", "There on Friday, back on Sunday", Priority::Medium, Some((7, 20)), &["travel"]),
    ("Read the paper on group commit", "", Priority::Low, None, &["work", "reading"]),
    ("Set up Errand", "Done, as you see", Priority::Unspecified, None, &["home"]),
];

/// The place in [`TASKS`] of the one that is done already.
const DONE: usize = 7;

const MESSAGES: [&str; 3] =
    ["add water the plants tomorrow at 9am", "what is due tomorrow?", "how many open tasks do I have?"];

/// A conversation as it went: what was said and what was answered.
type Exchange = (&'static str, String);

struct Client {
    channel: Upstream,
    bearer: AsciiMetadataValue,
}

/// Runs `errand seed`.
pub(crate) fn run(config: &Config, seed: &Seed) -> Result<(), Failure> {
    let zone = TimeZone::get(&seed.time_zone)
        .map_err(|_| Failure::new(Kind::Usage, format!("there is no time zone `{}`", seed.time_zone)))?;
    let url = remote::url(config, &seed.target)?;
    let now = SystemClock.now().to_zoned(zone);
    remote::block_on(async {
        let channel = remote::connect(config, &url).await?;
        let (password, credentials) = enter(&channel, seed).await?;
        let client = Client::new(channel, &credentials)?;
        let story = if client.has_tasks().await? {
            format!("{} has tasks already: nothing was added\n", seed.email)
        } else {
            let tasks = client.make_tasks(&now).await?;
            tell(&seed.email, tasks, &client.talk().await?)
        };
        console::say(format_args!("{story}\n{}", how_to_log_in(&url, seed, &password)));
        Ok(())
    })
}

/// Signs up, or logs in when there is such an account and its password was given.
async fn enter(channel: &Upstream, seed: &Seed) -> Result<(String, Credentials), Failure> {
    let mut auth = AuthServiceClient::new(channel.clone());
    let password = match &seed.password {
        Some(password) => password.clone(),
        None => new_password()?,
    };
    let request = SignUpRequest {
        email: seed.email.clone(),
        password: password.clone(),
        display_name: "Demo".to_owned(),
        time_zone: seed.time_zone.clone(),
    };
    let credentials = match auth.sign_up(request).await {
        Ok(answer) => answer.into_inner().credentials,
        Err(error) if status::reason(&error).as_deref() == Some("EMAIL_TAKEN") => {
            if seed.password.is_none() {
                let message =
                    format!("there is an account {0} already: give its --password, or another --email", seed.email);
                return Err(Failure::new(Kind::Failed, message));
            }
            let request = LogInRequest { email: seed.email.clone(), password: password.clone() };
            let answer = auth.log_in(request).await.map_err(|error| refused("logging in", &error))?;
            answer.into_inner().credentials
        }
        Err(error) => return Err(refused("signing up", &error)),
    };
    Ok((password, credentials.ok_or_else(|| incomplete("credentials"))?))
}

// === impl Client ===

impl Client {
    fn new(channel: Upstream, credentials: &Credentials) -> Result<Self, Failure> {
        let bearer = format!("Bearer {}", credentials.access_token);
        let mut bearer = AsciiMetadataValue::try_from(bearer).map_err(|_| incomplete("an access token"))?;
        bearer.set_sensitive(true);
        Ok(Self { channel, bearer })
    }

    fn request<T>(&self, message: T) -> Request<T> {
        let mut request = Request::new(message);
        request.metadata_mut().insert("authorization", self.bearer.clone());
        request
    }

    async fn has_tasks(&self) -> Result<bool, Failure> {
        let request = self.request(ListTasksRequest { page_size: 1, ..Default::default() });
        let answer = TaskServiceClient::new(self.channel.clone()).list_tasks(request).await;
        Ok(!answer.map_err(|error| refused("listing tasks", &error))?.into_inner().tasks.is_empty())
    }

    /// Makes the tasks and completes one; answers how many there are.
    async fn make_tasks(&self, now: &Zoned) -> Result<usize, Failure> {
        let mut tasks = TaskServiceClient::new(self.channel.clone());
        for (place, sample) in TASKS.iter().enumerate() {
            let request = CreateTaskRequest { task: Some(task(sample, now)), ..Default::default() };
            let made = tasks.create_task(self.request(request)).await;
            let made = made.map_err(|error| refused("creating a task", &error))?.into_inner();
            if place == DONE {
                let request = CompleteTaskRequest { task_id: made.id, etag: made.etag, ..Default::default() };
                let done = tasks.complete_task(self.request(request)).await;
                done.map_err(|error| refused("completing a task", &error))?;
            }
        }
        Ok(TASKS.len())
    }

    /// Has the conversation.
    async fn talk(&self) -> Result<Vec<Exchange>, Failure> {
        let mut chat = ChatServiceClient::new(self.channel.clone());
        let mut conversation_id = String::new();
        let mut exchanges = Vec::new();
        for content in MESSAGES {
            let request = SendMessageRequest {
                conversation_id: conversation_id.clone(),
                content: content.to_owned(),
                ..Default::default()
            };
            let answer = chat.send_message(self.request(request)).await;
            let answer = answer.map_err(|error| refused("talking to the assistant", &error))?.into_inner();
            conversation_id = answer.conversation_id;
            exchanges.push((content, answer.response));
        }
        Ok(exchanges)
    }
}

fn task((title, description, priority, due, labels): &Sample, now: &Zoned) -> Task {
    let due_time = due.and_then(|(days, hour)| {
        let date = now.date().checked_add(days.days()).ok()?;
        let due = date.at(hour, 0, 0, 0).to_zoned(now.time_zone().clone()).ok()?;
        Some(Timestamp { seconds: due.timestamp().as_second(), nanos: 0 })
    });
    Task {
        title: (*title).to_owned(),
        description: (*description).to_owned(),
        priority: (*priority).into(),
        due_time,
        labels: labels.iter().map(|label| (*label).to_owned()).collect(),
        ..Default::default()
    }
}

fn tell(email: &str, tasks: usize, exchanges: &[Exchange]) -> String {
    let mut story = format!("made {email} with {tasks} tasks and a conversation:\n");
    for (said, answered) in exchanges {
        _ = writeln!(story, "  you        {said}\n  assistant  {}", answered.replace('\n', "\n             "));
    }
    story
}

fn how_to_log_in(url: &str, seed: &Seed, password: &str) -> String {
    let address = url.split_once("://").map_or(url, |(_, address)| address);
    let plaintext = if url.starts_with("https:") { "" } else { " -plaintext" };
    // Only a password that was made here is shown; the other one is known, and not ours to repeat.
    let password = if seed.password.is_some() { "the one that you gave" } else { password };
    let credentials = serde_json::json!({ "email": seed.email, "password": password }).to_string();
    let credentials = credentials.replace('\'', r"'\''");
    format!(
        "log in:\n  grpcurl{plaintext} -d '{credentials}' {address} errand.auth.v1.AuthService/LogIn\n\
         and with the accessToken that it answers:\n  grpcurl{plaintext} -H \"authorization: Bearer $TOKEN\" \
         -d '{{\"content\":\"what is due this week?\"}}' {address} errand.chat.v1.ChatService/SendMessage"
    )
}

/// 64 random bits, in groups that can be typed.
fn new_password() -> Result<String, Failure> {
    let hex = data::random_hex().map_err(|error| Failure::new(Kind::Failed, format!("no random numbers: {error}")))?;
    Ok(format!("{}-{}-{}-{}", &hex[..4], &hex[4..8], &hex[8..12], &hex[12..16]))
}

fn incomplete(what: &str) -> Failure {
    Failure::new(Kind::Failed, format!("the server's answer came without {what}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn due_times_are_in_the_zone_of_the_account() {
        let now: Zoned = "2026-11-21T23:30[Europe/Berlin]".parse().unwrap();
        let due = task(&TASKS[1], &now).due_time.unwrap();
        let expected: jiff::Timestamp = "2026-11-22T08:00:00Z".parse().unwrap();
        assert_eq!(due.seconds, expected.as_second());
        assert_eq!(task(&TASKS[6], &now).due_time, None);
    }

    #[test]
    fn a_made_password_is_long_enough_and_new_each_time() {
        let (one, other) = (new_password().unwrap(), new_password().unwrap());
        assert_eq!(one.len(), 19);
        assert_ne!(one, other);
    }
}

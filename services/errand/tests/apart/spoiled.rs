//! Battery 2.12: the network between chat and task refuses, is slow, or breaks in the middle of a call.

use std::time::{Duration, Instant};

use errand_proto::chat::{ListMessagesRequest, Role, SendMessageRequest, SendMessageResponse};
use tonic::{Code, Status};

use crate::{
    sandbox::{Person, Sandbox, refusal, rounds},
    spoiler::{Fault, Spoiler},
};

/// One conversation over a network that is spoiled.
struct Talk {
    sandbox: Sandbox,
    ann: Person,
    conversation: String,
    said: usize,
}

impl Talk {
    async fn begin() -> Self {
        let sandbox = Sandbox::spoiled(Spoiler::start());
        let ann = sandbox.sign_up().await;
        let conversation = ann.say("", "add buy milk").await.conversation_id;
        Self { sandbox, ann, conversation, said: 1 }
    }

    fn network(&self) -> &Spoiler {
        self.sandbox.ground.spoiler.as_ref().unwrap()
    }

    async fn send(&self, content: &str, key: &str, patience: Duration) -> Result<SendMessageResponse, Status> {
        let mut request = self.ann.request(SendMessageRequest {
            conversation_id: self.conversation.clone(),
            content: content.to_owned(),
            request_id: key.to_owned(),
            ..Default::default()
        });
        request.set_timeout(patience);
        Ok(self.ann.chat().send_message(request).await?.into_inner())
    }

    /// What the user said, in order.
    async fn messages(&self) -> Vec<String> {
        let (mut said, mut page_token) = (Vec::new(), String::new());
        loop {
            let conversation_id = self.conversation.clone();
            let request = ListMessagesRequest { conversation_id, page_size: 200, page_token };
            let page = self.ann.chat().list_messages(self.ann.request(request)).await.unwrap().into_inner();
            let users = page.messages.into_iter().filter(|message| message.role() == Role::User);
            said.extend(users.map(|message| message.content));
            page_token = page.next_page_token;
            if page_token.is_empty() {
                return said;
            }
        }
    }

    async fn count(&self, title: &str) -> usize {
        self.ann.titles().await.into_iter().filter(|one| one == title).count()
    }

    /// Says that something is to be added while `fault` is there: the end is clear, the message is kept, and
    /// once the network is well the same and other messages have their answers.
    async fn through(&mut self, fault: Fault, patience: Duration) -> Option<SendMessageResponse> {
        self.said += 1;
        let (title, key) = (format!("buy thing {}", self.said), format!("key-{}", self.said));
        let content = format!("add {title}");
        self.network().set(fault);
        let began = Instant::now();
        let said = self.send(&content, &key, patience).await;
        assert!(began.elapsed() < patience + Duration::from_secs(5), "{fault:?} took {:?}", began.elapsed());
        self.network().set(Fault::None);
        let told = match said {
            Ok(answer) => Some(answer),
            // The client's own clock was first, as it may be on a busy machine.
            Err(status) if status.details().is_empty() => {
                assert!([Code::Cancelled, Code::DeadlineExceeded].contains(&status.code()), "{fault:?}: {status:?}");
                None
            }
            Err(status) => {
                let said = refusal(Err::<(), _>(status));
                assert!([Code::Unavailable, Code::DeadlineExceeded].contains(&said.code), "{fault:?}: {said:?}");
                None
            }
        };
        assert_eq!(self.messages().await.last(), Some(&content), "{fault:?}: the message is kept");
        let again = self.send(&content, &key, Duration::from_secs(30)).await.unwrap();
        if let Some(told) = &told {
            assert_eq!(*told, again, "{fault:?}: one answer");
        }
        let failed = again.tool_calls.iter().any(|call| !call.error.is_empty());
        let made = self.count(&title).await;
        assert!(made == 1 || (failed && made == 0), "{fault:?}: {made} of it: {again:?}");
        assert!(!failed || !again.response.is_empty(), "{fault:?}: {again:?}");
        // Later turns work.
        self.said += 1;
        let later = format!("buy later thing {}", self.said);
        self.send(&format!("add {later}"), "", Duration::from_secs(30)).await.unwrap();
        assert_eq!(self.count(&later).await, 1);
        Some(again)
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r_117_a_network_that_refuses_or_is_slow_ends_the_turn_clearly_and_keeps_the_message() {
    let mut talk = Talk::begin().await;
    let slow = Fault::Slow(Duration::from_secs(5));
    for _ in 0..rounds(1, 10) {
        for fault in [Fault::Refuses, slow] {
            // In time for the user, who waits for so long.
            let answer = talk.through(fault, Duration::from_secs(4)).await.unwrap();
            let error = &answer.tool_calls[0].error;
            println!("{fault:?}: {error:?}, {}", answer.response);
            assert!(
                error.is_empty() || ["UNAVAILABLE", "DEADLINE_EXCEEDED", "OUTCOME_UNKNOWN"].contains(&error.as_str())
            );
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r_117_a_call_that_breaks_in_its_middle_is_made_again_and_does_its_work_once() {
    let mut talk = Talk::begin().await;
    for _ in 0..rounds(3, 50) {
        for fault in [Fault::LosesRequest, Fault::LosesAnswer] {
            let before = talk.network().passed();
            let answer = talk.through(fault, Duration::from_secs(20)).await.unwrap();
            assert_eq!(talk.network().fault(), Fault::None, "the fault has happened");
            assert_eq!(answer.tool_calls[0].error, "", "{fault:?}: {answer:?}");
            // One for each of the two turns, and the one whose answer was lost.
            let tries = talk.network().passed() - before;
            assert!(tries >= if fault == Fault::LosesAnswer { 3 } else { 2 }, "{fault:?}: {tries}");
        }
    }
}

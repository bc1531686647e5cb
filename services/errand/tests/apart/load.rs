//! Clients that go on whatever happens, and a ledger of everything that they were told.
//!
//! Each repeats a call that was refused, as its contract allows: with the same request id, after the wait that the
//! refusal asks for. In the end everything that was acknowledged is there, once.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, RwLock},
    time::Duration,
};

use errand_proto::{
    auth::{LogInRequest, RefreshTokenRequest, SignUpRequest},
    chat::{SendMessageRequest, SendMessageResponse},
    task::{GetTaskRequest, Task},
};
use tokio::{sync::watch, task::JoinSet};
use tonic::{Code, Status, transport::Channel};

use crate::sandbox::{PASSWORD, Person, Sandbox, from_elsewhere, refusal};

/// Longer than anything may take to be well again.
const PATIENCE: Duration = Duration::from_secs(60);

/// What a client was refused with: code, reason, and whose word it is.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Seen {
    /// The suite said so.
    Said(i32, String),
    /// The client's own library did, because its connection broke.
    Broken(String),
}

/// Where clients call: what a balancer in front of the gateways knows.
pub(crate) type Routes = Arc<RwLock<Vec<Channel>>>;

/// What all clients were told.
struct Ledger {
    routes: Routes,
    done: watch::Sender<usize>,
    seen: Mutex<BTreeMap<Seen, usize>>,
    stop: watch::Sender<bool>,
}

/// Clients at work.
pub(crate) struct Load {
    ledger: Arc<Ledger>,
    creators: JoinSet<(Person, BTreeMap<String, Task>)>,
    talkers: JoinSet<(Person, Vec<SendMessageResponse>)>,
    refreshers: JoinSet<String>,
    newcomers: JoinSet<Vec<String>>,
}

impl Ledger {
    /// Some door that is open.
    fn route(&self, number: usize) -> Channel {
        let routes = self.routes.read().unwrap();
        routes[number % routes.len()].clone()
    }

    fn stopped(&self) -> bool {
        *self.stop.borrow()
    }

    /// Repeats a call until it is answered.
    async fn insist<T, F: Future<Output = Result<T, Status>>>(&self, mut call: impl FnMut(Channel) -> F) -> T {
        let insisting = async {
            for attempt in 0.. {
                match call(self.route(attempt)).await {
                    Ok(answer) => {
                        self.done.send_modify(|done| *done += 1);
                        return answer;
                    }
                    Err(status) => tokio::time::sleep(self.note(status)).await,
                }
            }
            unreachable!()
        };
        let answered = tokio::time::timeout(PATIENCE, insisting).await;
        answered.unwrap_or_else(|_| panic!("never answered: {:?}", self.seen.lock().unwrap()))
    }

    /// Writes down what a call was refused with, and says how long to wait before the next.
    fn note(&self, status: Status) -> Duration {
        let (seen, wait) = if status.details().is_empty() {
            (Seen::Broken(format!("{:?} {}", status.code(), status.message())), None)
        } else {
            let said = refusal(Err::<(), _>(status));
            (Seen::Said(said.code as i32, said.reason), said.retry_after)
        };
        *self.seen.lock().unwrap().entry(seen).or_default() += 1;
        wait.unwrap_or(Duration::from_millis(50)).min(Duration::from_secs(1))
    }
}

impl Load {
    /// Clients of every service, several of each.
    pub(crate) async fn on(sandbox: &Sandbox, routes: Routes) -> Self {
        let ledger = Arc::new(Ledger {
            routes,
            done: watch::Sender::new(0),
            seen: Mutex::default(),
            stop: watch::Sender::new(false),
        });
        let mut load = Self {
            ledger: ledger.clone(),
            creators: JoinSet::new(),
            talkers: JoinSet::new(),
            refreshers: JoinSet::new(),
            newcomers: JoinSet::new(),
        };
        for number in 0..4 {
            load.creators.spawn(create(ledger.clone(), sandbox.sign_up().await));
            if number < 2 {
                load.talkers.spawn(talk(ledger.clone(), sandbox.sign_up().await));
                load.refreshers.spawn(refresh(ledger.clone(), sandbox.sign_up().await));
            }
        }
        load.newcomers.spawn(sign_up(ledger));
        load
    }

    /// Waits until this many more calls were answered.
    pub(crate) async fn progress(&self, count: usize) {
        let mut done = self.ledger.done.subscribe();
        let enough = *done.borrow_and_update() + count;
        let waiting = tokio::time::timeout(PATIENCE, done.wait_for(|done| *done >= enough));
        assert!(waiting.await.is_ok(), "nothing is answered: {:?}", self.ledger.seen.lock().unwrap());
    }

    /// Lets everybody finish what they began, and checks that what was acknowledged is there, once. Gives what the
    /// clients were refused with meanwhile.
    #[expect(clippy::print_stdout, reason = "a run in full size is for its figures")]
    pub(crate) async fn finish(self, sandbox: &Sandbox) -> BTreeMap<Seen, usize> {
        self.ledger.stop.send_replace(true);
        let mut answered = 0;
        for (person, acknowledged) in self.creators.join_all().await {
            let ann = sandbox.log_in(&person.user.email).await.unwrap();
            let listed = ann.list().await;
            assert_eq!(listed.len(), acknowledged.len(), "as many as were acknowledged");
            assert!(listed.iter().all(|task| acknowledged.get(&task.title) == Some(task)), "and the same");
            answered += listed.len();
        }
        for (person, turns) in self.talkers.join_all().await {
            let ann = sandbox.log_in(&person.user.email).await.unwrap();
            let mut titles = ann.titles().await;
            titles.sort();
            let mut expected: Vec<_> = (0..turns.len()).map(|number| format!("chore {number}")).collect();
            expected.sort();
            let told: Vec<_> = turns.iter().map(|turn| (&turn.response, &turn.tool_calls[0].error)).collect();
            assert_eq!(titles, expected, "each message did its work once: {told:?}");
            let ids: BTreeSet<_> = turns.iter().map(|turn| &turn.turn_id).collect();
            assert_eq!(ids.len(), turns.len());
            answered += turns.len();
        }
        for token in self.refreshers.join_all().await {
            assert!(sandbox.refresh(&token).await.is_ok(), "the last token is the head of its family");
        }
        for email in self.newcomers.join_all().await.concat() {
            let request = LogInRequest { email, password: PASSWORD.to_owned() };
            assert!(sandbox.auth().await.log_in(from_elsewhere(request)).await.is_ok());
        }
        let gaps = "SELECT max(seq) - count(*) FROM changes GROUP BY owner HAVING max(seq) <> count(*)";
        assert!(sandbox.stored("task", gaps).await.is_empty(), "no log has a gap");
        assert!(answered > 0);
        println!("{answered} acknowledged writes; refused: {:?}", self.ledger.seen.lock().unwrap());
        self.ledger.seen.lock().unwrap().clone()
    }
}

/// Creates tasks and reads them.
async fn create(ledger: Arc<Ledger>, ann: Person) -> (Person, BTreeMap<String, Task>) {
    let mut acknowledged = BTreeMap::new();
    while !ledger.stopped() {
        let title = format!("task {}", acknowledged.len());
        let key = title.replace(' ', "-");
        let task = ledger
            .insist(|channel| {
                let ann = Person { channel, ..ann.clone() };
                let (title, key) = (title.clone(), key.clone());
                async move { ann.try_create(&title, &key).await }
            })
            .await;
        let read = ledger
            .insist(|channel| {
                let ann = Person { channel, ..ann.clone() };
                let request = ann.request(GetTaskRequest { task_id: task.id.clone() });
                async move { ann.tasks().get_task(request).await }
            })
            .await;
        assert_eq!(read.into_inner(), task, "what was acknowledged is read by everybody");
        acknowledged.insert(title, task);
    }
    (ann, acknowledged)
}

/// Has the assistant create tasks.
async fn talk(ledger: Arc<Ledger>, ann: Person) -> (Person, Vec<SendMessageResponse>) {
    let mut turns: Vec<SendMessageResponse> = Vec::new();
    while !ledger.stopped() {
        let request = SendMessageRequest {
            conversation_id: turns.first().map(|turn| turn.conversation_id.clone()).unwrap_or_default(),
            content: format!("add chore {}", turns.len()),
            request_id: format!("message-{}", turns.len()),
            ..Default::default()
        };
        let turn = ledger
            .insist(|channel| {
                let ann = Person { channel, ..ann.clone() };
                let request = ann.request(request.clone());
                async move { ann.chat().send_message(request).await }
            })
            .await
            .into_inner();
        assert_eq!(turn.tool_calls.len(), 1, "{turn:?}");
        assert_eq!(turn.tool_calls[0].error, "", "{turn:?}");
        turns.push(turn);
    }
    (ann, turns)
}

/// Trades refresh tokens, one after the other.
async fn refresh(ledger: Arc<Ledger>, ann: Person) -> String {
    let mut token = ann.credentials.refresh_token.clone();
    while !ledger.stopped() {
        let answer = ledger
            .insist(|channel| {
                let ann = Person { channel, ..ann.clone() };
                let request = RefreshTokenRequest { refresh_token: token.clone() };
                async move { ann.auth().refresh_token(request).await }
            })
            .await;
        token = answer.into_inner().credentials.unwrap().refresh_token;
    }
    token
}

/// Makes accounts.
async fn sign_up(ledger: Arc<Ledger>) -> Vec<String> {
    let mut emails = Vec::new();
    while !ledger.stopped() {
        let email = format!("newcomer{}@example.com", emails.len());
        let request = SignUpRequest { email: email.clone(), password: PASSWORD.to_owned(), ..Default::default() };
        ledger
            .insist(|channel| {
                let mut auth = errand_proto::auth::auth_service_client::AuthServiceClient::new(channel);
                let request = from_elsewhere(request.clone());
                async move {
                    match auth.sign_up(request).await {
                        // Asked again after an answer that was lost.
                        Err(status) if status.code() == Code::AlreadyExists => Ok(()),
                        answer => answer.map(drop),
                    }
                }
            })
            .await;
        emails.push(email);
    }
    emails
}

/// Where clients call when there is one gateway.
pub(crate) async fn one_route(sandbox: &Sandbox) -> Routes {
    Arc::new(RwLock::new(vec![sandbox.channel().await]))
}

/// Whether the suite itself said nothing but that it is not available.
pub(crate) fn only_unavailable(seen: &BTreeMap<Seen, usize>) -> bool {
    seen.keys().all(|seen| match seen {
        Seen::Said(code, _) => *code == Code::Unavailable as i32,
        Seen::Broken(_) => false,
    })
}

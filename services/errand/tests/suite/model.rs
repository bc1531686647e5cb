//! Battery 2.3: the lives of many users at once, each checked step by step against a model of it in memory.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
};

use errand_proto::task::{
    BatchCreateTasksRequest, CompleteTaskRequest, DeleteTaskRequest, GetTaskRequest, ListTasksRequest, NewTask,
    ReopenTaskRequest, Task, UndeleteTaskRequest, UpdateTaskRequest,
};
use tonic::{Code, Status};

use crate::sandbox::{Person, Sandbox, reason, refused, rounds};

/// What a user has, in memory.
#[derive(Debug, Default)]
struct Model {
    live: BTreeMap<String, (String, bool)>,
    deleted: BTreeMap<String, (String, bool)>,
}

/// Ids of everybody's tasks, for others to try.
type Board = Arc<Mutex<Vec<(usize, String)>>>;

struct Life {
    person: Person,
    number: usize,
    random: u64,
    model: Model,
    board: Board,
}

impl Life {
    fn draw(&mut self, below: usize) -> usize {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        (self.random >> 16) as usize % below.max(1)
    }

    fn some(&mut self, deleted: bool) -> Option<String> {
        let count = if deleted { self.model.deleted.len() } else { self.model.live.len() };
        let index = self.draw(count);
        if deleted { &self.model.deleted } else { &self.model.live }.keys().nth(index).cloned()
    }

    /// Answers are what the model says.
    fn learn(&mut self, task: Task) {
        self.board.lock().unwrap().push((self.number, task.id.clone()));
        self.model.live.insert(task.id, (task.title, task.completed));
    }

    async fn step(&mut self, step: usize) {
        let title = format!("user {} step {step}", self.number);
        let person = self.person.clone();
        match (self.draw(12), self.some(false), self.some(true)) {
            (0, Some(task_id), _) => {
                let request = DeleteTaskRequest { task_id: task_id.clone(), ..Default::default() };
                person.tasks().delete_task(person.request(request)).await.unwrap();
                let task = self.model.live.remove(&task_id).unwrap();
                self.model.deleted.insert(task_id, task);
            }
            (1, _, Some(task_id)) => {
                let request = UndeleteTaskRequest { task_id: task_id.clone(), ..Default::default() };
                person.tasks().undelete_task(person.request(request)).await.unwrap();
                let task = self.model.deleted.remove(&task_id).unwrap();
                self.model.live.insert(task_id, task);
            }
            (2, Some(id), _) => {
                let task = Task { id: id.clone(), title, ..Default::default() };
                let request = UpdateTaskRequest { task: Some(task), ..Default::default() };
                let task = person.tasks().update_task(person.request(request)).await.unwrap().into_inner();
                self.model.live.insert(id, (task.title, task.completed));
            }
            (3, Some(task_id), _) => {
                let request = CompleteTaskRequest { task_id: task_id.clone(), ..Default::default() };
                person.tasks().complete_task(person.request(request)).await.unwrap();
                self.model.live.get_mut(&task_id).unwrap().1 = true;
            }
            (4, Some(task_id), _) => {
                let request = ReopenTaskRequest { task_id: task_id.clone(), ..Default::default() };
                person.tasks().reopen_task(person.request(request)).await.unwrap();
                self.model.live.get_mut(&task_id).unwrap().1 = false;
            }
            (5, Some(task_id), _) => {
                let request = GetTaskRequest { task_id: task_id.clone() };
                let task = person.tasks().get_task(person.request(request)).await.unwrap().into_inner();
                assert_eq!((task.title, task.completed), self.model.live[&task_id]);
            }
            (6, _, Some(id)) => {
                let task = Task { id, title, ..Default::default() };
                let request = UpdateTaskRequest { task: Some(task), ..Default::default() };
                let said = person.tasks().update_task(person.request(request)).await;
                assert_eq!(reason(said), refused(Code::FailedPrecondition, "TASK_DELETED"));
            }
            (7, ..) => {
                let new =
                    |part| NewTask { task: Some(Task { title: format!("{title}.{part}"), ..Default::default() }) };
                let request = BatchCreateTasksRequest { requests: (0..3).map(new).collect(), ..Default::default() };
                let made = person.tasks().batch_create_tasks(person.request(request)).await.unwrap().into_inner();
                made.tasks.into_iter().for_each(|task| self.learn(task));
            }
            (8 | 9, ..) => self.try_anothers().await,
            (10, ..) => self.compare().await,
            _ => {
                let task = person.create(&title).await;
                self.learn(task);
            }
        }
    }

    async fn try_anothers(&mut self) {
        let count = self.board.lock().unwrap().len();
        let at = self.draw(count);
        let Some((owner, task_id)) = self.board.lock().unwrap().get(at).cloned() else { return };
        if owner == self.number {
            return;
        }
        let person = &self.person;
        let said: Result<(), Status> = match self.random % 3 {
            0 => {
                let request = person.request(GetTaskRequest { task_id });
                person.tasks().get_task(request).await.map(drop)
            }
            1 => {
                let task = Task { id: task_id, title: "taken".to_owned(), ..Default::default() };
                let request = person.request(UpdateTaskRequest { task: Some(task), ..Default::default() });
                person.tasks().update_task(request).await.map(drop)
            }
            _ => {
                let request = person.request(DeleteTaskRequest { task_id, ..Default::default() });
                person.tasks().delete_task(request).await.map(drop)
            }
        };
        assert_eq!(reason(said), refused(Code::NotFound, "TASK_NOT_FOUND"));
    }

    /// Every list says what the model says.
    async fn compare(&self) {
        for completed in [None, Some(true), Some(false)] {
            let mut listed = BTreeMap::new();
            let mut page_token = String::new();
            loop {
                let request = ListTasksRequest { page_size: 50, page_token, completed, ..Default::default() };
                let page = self.person.tasks().list_tasks(self.person.request(request)).await.unwrap().into_inner();
                listed.extend(page.tasks.into_iter().map(|task| (task.id, (task.title, task.completed))));
                page_token = page.next_page_token;
                if page_token.is_empty() {
                    break;
                }
            }
            let expected = self.model.live.iter().filter(|(_, task)| completed.is_none_or(|wanted| wanted == task.1));
            assert!(listed.iter().eq(expected), "{listed:?} is not {:?}", self.model);
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r_036_fifty_users_at_random_each_have_exactly_what_a_model_of_them_has() {
    let sandbox = Sandbox::start();
    let board = Board::default();
    let mut lives = Vec::new();
    for number in 0..50usize {
        let person = sandbox.sign_up().await;
        let random = (number as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let mut life = Life { person, number, random, model: Model::default(), board: board.clone() };
        lives.push(tokio::spawn(async move {
            for step in 0..rounds(40, 2_000) {
                life.step(step).await;
            }
            life.compare().await;
        }));
    }
    for life in lives {
        life.await.unwrap();
    }
}

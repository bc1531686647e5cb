//! How many statements each rpc costs: what `docs/statements.md` says.

use std::collections::BTreeMap;

use errand_proto::{
    contract::METHODS,
    task::{
        BatchCompleteTasksRequest, BatchCreateTasksRequest, BatchDeleteTasksRequest, BatchUpdateTasksRequest,
        ChangeRange, EraseMeRequest, ListChangesRequest, ListTasksRequest, ReopenTaskRequest, Task, TaskUpdate,
        UndoChangesRequest, task_service_server::SERVICE_NAME, undo_changes_request::Selection,
    },
};
use prost_types::FieldMask;
use tonic::Code;
use uuid::Uuid;

use crate::{
    batches::{create_all, new, version},
    complete, delete, refusal, titled, undelete, update,
    watch::watch,
    world::{Home, User, World},
};

/// The table of the page.
fn said() -> BTreeMap<String, u64> {
    let page = include_str!("../../../../docs/statements.md");
    let section = page.split("\n## ").find(|section| section.starts_with("Task\n")).unwrap();
    let rows = section.lines().filter_map(|line| {
        let mut cells = line.split('|').map(str::trim).skip(1);
        Some((cells.next()?.to_owned(), cells.next()?.parse().ok()?))
    });
    rows.collect()
}

/// What calls of one rpc cost, in order.
struct Bill<'w> {
    world: &'w World,
    rpcs: BTreeMap<String, u64>,
}

impl Bill<'_> {
    async fn add<T>(&mut self, rpc: &str, call: impl Future<Output = T>) -> T {
        let (answer, statements) = cost(self.world, call).await;
        self.rpcs.insert(rpc.to_owned(), statements);
        answer
    }
}

async fn cost<T>(world: &World, call: impl Future<Output = T>) -> (T, u64) {
    let before = world.role.statements();
    let answer = call.await;
    (answer, world.role.statements() - before)
}

fn named(id: &str) -> Task {
    Task { id: id.to_owned(), title: "new".into(), ..Default::default() }
}

#[tokio::test]
async fn every_rpc_costs_the_statements_that_the_page_says() {
    let world = World::new().await;
    if matches!(world.home, Home::File(_)) {
        return;
    }
    let user = world.user_with(1, "tasks:read tasks:write erase");
    let mut bill = Bill { world: &world, rpcs: BTreeMap::new() };
    let task = bill.add("CreateTask", user.create(titled("x"))).await.unwrap();
    bill.add("GetTask", user.get(&task.id)).await.unwrap();
    bill.add("UpdateTask", user.update(update(named(&task.id), &["title"]))).await.unwrap();
    bill.add("CompleteTask", user.complete(complete(&task))).await.unwrap();
    let reopen = ReopenTaskRequest { task_id: task.id.clone(), ..Default::default() };
    bill.add("ReopenTask", user.reopen(reopen)).await.unwrap();
    bill.add("DeleteTask", user.delete(delete(&task))).await.unwrap();
    bill.add("UndeleteTask", user.undelete(undelete(&task))).await.unwrap();

    let mut client = user.client();
    let requests = (0..100).map(|number| new(&format!("task {number}"))).collect();
    let request = user.signed(BatchCreateTasksRequest { requests, request_id: "r1".into(), ..Default::default() });
    let tasks = bill.add("BatchCreateTasks", client.batch_create_tasks(request)).await.unwrap().into_inner().tasks;
    let update_mask = Some(FieldMask { paths: vec!["title".into()] });
    let requests =
        tasks.iter().map(|task| TaskUpdate { task: Some(named(&task.id)), update_mask: update_mask.clone() }).collect();
    let request = user.signed(BatchUpdateTasksRequest { requests, ..Default::default() });
    let tasks = bill.add("BatchUpdateTasks", client.batch_update_tasks(request)).await.unwrap().into_inner().tasks;
    let requests = tasks.iter().map(version).collect();
    let request = user.signed(BatchCompleteTasksRequest { requests, ..Default::default() });
    let tasks = bill.add("BatchCompleteTasks", client.batch_complete_tasks(request)).await.unwrap().into_inner().tasks;
    let list = ListTasksRequest { page_size: 200, show_deleted: true, ..Default::default() };
    bill.add("ListTasks", user.list(list)).await.unwrap();
    let requests = tasks.iter().map(version).collect();
    let request = user.signed(BatchDeleteTasksRequest { requests, request_id: "r2".into(), ..Default::default() });
    bill.add("BatchDeleteTasks", client.batch_delete_tasks(request)).await.unwrap();

    let request = user.signed(ListChangesRequest { page_size: 200, ..Default::default() });
    let log = bill.add("ListChanges", client.list_changes(request)).await.unwrap().into_inner();
    let range = ChangeRange {
        first_cursor: log.changes.first().unwrap().cursor.clone(),
        last_cursor: log.changes.last().unwrap().cursor.clone(),
    };
    let request = UndoChangesRequest { selection: Some(Selection::Range(range)), ..Default::default() };
    bill.add("UndoChanges", client.undo_changes(user.signed(request))).await.unwrap();
    // The shared reader begins by itself: its statement comes when it comes.
    let statements = world.role.statements();
    let first = watch(&user, "").await;
    while world.role.statements() < statements + 2 {
        tokio::task::yield_now().await;
    }
    bill.rpcs.insert("WatchTasks".to_owned(), 2);
    assert_eq!(cost(&world, watch(&user, "")).await.1, 1, "all but the first share its reader");
    drop(first);
    let idle = world.user_with(2, "tasks:read tasks:write erase");
    create_all(&idle, 10).await;
    bill.add("EraseMe", client.erase_me(idle.signed(EraseMeRequest {}))).await.unwrap();

    assert_eq!(bill.rpcs, said());
    let all = METHODS.iter().filter(|method| method.service == SERVICE_NAME).map(|method| method.name);
    assert_eq!(bill.rpcs.keys().map(String::as_str).collect::<Vec<_>>(), {
        let mut all: Vec<_> = all.collect();
        all.sort_unstable();
        all
    });
}

#[tokio::test]
async fn r_035_an_id_of_somebody_else_costs_what_an_id_of_nobody_costs() {
    let world = World::new().await;
    let (user, other) = (world.user(1), world.user(2));
    user.create(titled("mine")).await.unwrap();
    let own = user.create(titled("read")).await.unwrap();
    let theirs = other.create(titled("theirs")).await.unwrap();
    let nobodys = Uuid::from_u128(0x0189_0000_0000_7000_8000_0000_0000_0001).to_string();
    assert_eq!(cost(&world, user.get(&own.id)).await.1, cost(&world, user.get(&theirs.id)).await.1);
    let calls = async |id: &str| {
        let task = named(id);
        let reopen = ReopenTaskRequest { task_id: task.id.clone(), ..Default::default() };
        let costs = [
            refused(&world, user.get(id)).await,
            refused(&world, user.update(update(task.clone(), &["title"]))).await,
            refused(&world, user.complete(complete(&task))).await,
            refused(&world, user.reopen(reopen)).await,
            refused(&world, user.delete(delete(&task))).await,
            refused(&world, user.undelete(undelete(&task))).await,
        ];
        let batch = BatchDeleteTasksRequest { requests: vec![version(&task)], ..Default::default() };
        let batch = user.client().batch_delete_tasks(user.signed(batch)).await;
        assert_eq!(refusal(batch), (Code::NotFound, "TASK_NOT_FOUND".to_owned()));
        costs
    };
    assert_eq!(calls(&theirs.id).await, calls(&nobodys).await);
}

async fn refused(world: &World, call: impl Future<Output = Result<Task, tonic::Status>>) -> u64 {
    let (answer, statements) = cost(world, call).await;
    assert_eq!(refusal(answer), (Code::NotFound, "TASK_NOT_FOUND".to_owned()));
    statements
}

#[tokio::test]
async fn r_064_a_repeated_request_costs_one_statement() {
    let world = World::new().await;
    if matches!(world.home, Home::File(_)) {
        return;
    }
    let user: User = world.user(1);
    let mut request = titled("once");
    request.request_id = "r1".into();
    let made = user.create(request.clone()).await.unwrap();
    let (again, statements) = cost(&world, user.create(request)).await;
    assert_eq!((again.unwrap(), statements), (made.clone(), 1));
    let mut request = complete(&made);
    request.request_id = "r2".into();
    let done = user.complete(request.clone()).await.unwrap();
    let (again, statements) = cost(&world, user.complete(request)).await;
    assert_eq!((again.unwrap(), statements), (done, 1));
}

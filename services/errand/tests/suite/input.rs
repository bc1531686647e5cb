//! Battery 2.4 on the gRPC face: every limit, at it and one beyond.

use errand_proto::{
    chat::SendMessageRequest,
    task::{CreateTaskRequest, GetTaskRequest, ListTasksRequest, ListTasksResponse, Task, UpdateTaskRequest},
};
use prost_types::{FieldMask, Timestamp};
use tonic::{Code, Status};

use crate::sandbox::{Person, Sandbox, reason, refusal, refused};

async fn create(ann: &Person, task: Task) -> Result<Task, Status> {
    let request = CreateTaskRequest { task: Some(task), ..Default::default() };
    Ok(ann.tasks().create_task(ann.request(request)).await?.into_inner())
}

fn titled(title: &str) -> Task {
    Task { title: title.to_owned(), ..Default::default() }
}

async fn list(ann: &Person, request: ListTasksRequest) -> Result<ListTasksResponse, Status> {
    Ok(ann.tasks().list_tasks(ann.request(request)).await?.into_inner())
}

#[tokio::test]
async fn r_046_texts_are_limited_in_code_points() {
    let sandbox = Sandbox::start();
    let ann = sandbox.sign_up().await;
    for unit in ["a", "😀", "e\u{301}"] {
        let points = unit.chars().count();
        let fits = unit.repeat(200 / points);
        assert_eq!(create(&ann, titled(&fits)).await.unwrap().title, fits);
        let refusal = refusal(create(&ann, titled(&format!("{fits}a"))).await);
        assert_eq!((refusal.code, refusal.fields), (Code::InvalidArgument, vec!["task.title".to_owned()]));
        let described = |text: String| Task { title: "t".into(), description: text, ..Default::default() };
        assert!(create(&ann, described(unit.repeat(1000 / points))).await.is_ok());
        assert!(create(&ann, described(unit.repeat(1000 / points) + "a")).await.is_err());
    }
    for blank in ["", " ", "\u{3000}\u{a0} "] {
        assert_eq!(refusal(create(&ann, titled(blank)).await).fields, ["task.title"], "{blank:?}");
    }
    for (content, fine) in
        [("x".repeat(10_000), true), ("x".repeat(10_001), false), (" \n ".to_owned(), false), (String::new(), false)]
    {
        let request = SendMessageRequest { content, ..Default::default() };
        let answer = ann.chat().send_message(ann.request(request)).await;
        if fine { drop(answer.unwrap()) } else { assert_eq!(refusal(answer).fields, ["content"]) }
    }
}

#[tokio::test]
async fn r_047_what_is_accepted_comes_back_byte_for_byte_and_the_rest_is_refused() {
    let sandbox = Sandbox::start();
    let ann = sandbox.sign_up().await;
    for fine in [
        "  inner  spaces ",
        "\u{feff}bom",
        "אבג עברית",
        "e\u{301} é",
        "\u{10fffd}\u{e000}",
        "'; DROP TABLE tasks; --",
        "%_\\",
        "😀👩‍👩‍👧",
    ] {
        let task = create(&ann, titled(fine)).await.unwrap();
        let get = GetTaskRequest { task_id: task.id };
        assert_eq!(ann.tasks().get_task(ann.request(get)).await.unwrap().into_inner().title, fine);
    }
    for bad in ["a\0b", "a\nb", "a\u{1b}[31m", "a\u{85}b", "a\u{2028}b", "a\u{202e}b", "a\u{2066}b"] {
        assert_eq!(refusal(create(&ann, titled(bad)).await).fields, ["task.title"], "{bad:?}");
    }
    let described = |text: &str| Task { title: "t".into(), description: text.into(), ..Default::default() };
    assert_eq!(create(&ann, described("one\r\n\ttwo")).await.unwrap().description, "one\r\n\ttwo");
    assert!(create(&ann, described("nul\0")).await.is_err());
}

#[tokio::test]
async fn labels_are_few_short_and_different() {
    let sandbox = Sandbox::start();
    let ann = sandbox.sign_up().await;
    let labelled = |labels: Vec<String>| Task { title: "t".into(), labels, ..Default::default() };
    let many = |count: u32| (0..count).map(|number| format!("label {number}")).collect::<Vec<_>>();
    assert_eq!(create(&ann, labelled(many(20))).await.unwrap().labels, many(20));
    assert_eq!(refusal(create(&ann, labelled(many(21))).await).fields, ["task.labels"]);
    assert!(create(&ann, labelled(vec!["x".repeat(50)])).await.is_ok());
    assert_eq!(refusal(create(&ann, labelled(vec!["x".repeat(51)])).await).fields, ["task.labels[0]"]);
    assert_eq!(refusal(create(&ann, labelled(vec!["a".into(), "a".into()])).await).fields, ["task.labels[1]"]);
}

#[tokio::test]
async fn r_053_page_sizes_are_defaulted_clamped_or_refused() {
    let sandbox = Sandbox::start();
    let ann = sandbox.sign_up().await;
    for number in 0..205 {
        ann.create(&format!("task {number}")).await;
    }
    for (asked, given) in [(0, 50), (1, 1), (200, 200), (201, 200), (i32::MAX, 200)] {
        let page = list(&ann, ListTasksRequest { page_size: asked, ..Default::default() }).await.unwrap();
        assert_eq!(page.tasks.len(), given, "{asked}");
        assert!(!page.next_page_token.is_empty());
    }
    for asked in [-1, i32::MIN] {
        let refusal = refusal(list(&ann, ListTasksRequest { page_size: asked, ..Default::default() }).await);
        assert_eq!((refusal.code, refusal.fields), (Code::InvalidArgument, vec!["pageSize".to_owned()]));
    }
}

#[tokio::test]
async fn r_054_a_page_token_fits_only_the_list_that_gave_it() {
    let sandbox = Sandbox::start();
    let ann = sandbox.sign_up().await;
    for number in 0..5 {
        ann.create(&format!("task {number}")).await;
    }
    let first = ListTasksRequest { page_size: 2, completed: Some(false), ..Default::default() };
    let page_token = list(&ann, first.clone()).await.unwrap().next_page_token;
    let next = ListTasksRequest { page_token: page_token.clone(), ..first.clone() };
    assert_eq!(list(&ann, ListTasksRequest { page_size: 1, ..next.clone() }).await.unwrap().tasks[0].title, "task 2");
    let invalid = refused(Code::InvalidArgument, "PAGE_TOKEN_INVALID");
    let mut flipped = page_token.clone().into_bytes();
    flipped[10] = if flipped[10] == b'A' { b'B' } else { b'A' };
    let others = [
        ListTasksRequest { completed: None, ..next.clone() },
        ListTasksRequest { query: "task".into(), ..next.clone() },
        ListTasksRequest { order_by: "update_time".into(), ..next.clone() },
        ListTasksRequest { show_deleted: true, ..next.clone() },
        ListTasksRequest { page_token: String::from_utf8(flipped).unwrap(), ..next.clone() },
        ListTasksRequest { page_token: page_token[..page_token.len() - 1].to_owned(), ..next.clone() },
        ListTasksRequest { page_token: "made up".into(), ..next.clone() },
    ];
    for other in others {
        assert_eq!(reason(list(&ann, other).await), invalid);
    }
    let sessions = errand_proto::auth::ListSessionsRequest { page_token, ..Default::default() };
    assert_eq!(reason(ann.auth().list_sessions(ann.request(sessions)).await), invalid);
}

#[tokio::test]
async fn r_054_a_walk_under_concurrent_writes_sees_every_surviving_task_once() {
    let sandbox = Sandbox::start();
    let ann = sandbox.sign_up().await;
    let mut survivors = std::collections::BTreeSet::new();
    for number in 0..60 {
        survivors.insert(ann.create(&format!("task {number}")).await.id);
    }
    let mut seen = Vec::new();
    let mut page_token = String::new();
    loop {
        let page = list(&ann, ListTasksRequest { page_size: 7, page_token, ..Default::default() }).await.unwrap();
        seen.extend(page.tasks.into_iter().map(|task| task.id));
        page_token = page.next_page_token;
        if page_token.is_empty() {
            break;
        }
        ann.create("a late one").await;
        let victim = survivors.pop_last().unwrap();
        let delete = errand_proto::task::DeleteTaskRequest { task_id: victim, ..Default::default() };
        ann.tasks().delete_task(ann.request(delete)).await.unwrap();
        let update = Task { id: survivors.first().unwrap().clone(), title: "changed".into(), ..Default::default() };
        let update = UpdateTaskRequest { task: Some(update), ..Default::default() };
        ann.tasks().update_task(ann.request(update)).await.unwrap();
    }
    for id in survivors {
        assert_eq!(seen.iter().filter(|one| **one == id).count(), 1);
    }
}

#[tokio::test]
async fn r_055_a_mask_names_only_fields_that_can_be_written() {
    let sandbox = Sandbox::start();
    let ann = sandbox.sign_up().await;
    let task = create(&ann, Task { description: "keep".into(), ..titled("task") }).await.unwrap();
    let update = |paths: Vec<String>, change: Task| UpdateTaskRequest {
        task: Some(Task { id: task.id.clone(), ..change }),
        update_mask: Some(FieldMask { paths }),
        ..Default::default()
    };
    for path in [
        "id",
        "owner",
        "create_time",
        "update_time",
        "completed",
        "complete_time",
        "delete_time",
        "etag",
        "*",
        "nothing",
        "task.title",
        "due_time.seconds",
        "",
    ] {
        let refusal = refusal(ann.tasks().update_task(ann.request(update(vec![path.into()], titled("new")))).await);
        assert_eq!((refusal.code, refusal.reason.as_str()), (Code::InvalidArgument, "INVALID_FIELDS"), "{path}");
        assert_eq!(refusal.fields, ["updateMask"], "{path}");
    }
    let many = update(vec!["title".to_owned(); 10_000], titled("new"));
    let _ = ann
        .tasks()
        .update_task(ann.request(many))
        .await
        .map_err(|status| assert_eq!(status.code(), Code::InvalidArgument));
    let empty = UpdateTaskRequest {
        task: Some(Task { id: task.id.clone(), ..titled("only the title") }),
        ..Default::default()
    };
    let updated = ann.tasks().update_task(ann.request(empty)).await.unwrap().into_inner();
    assert_eq!((updated.title.as_str(), updated.description.as_str()), ("only the title", "keep"));
    let cleared =
        ann.tasks().update_task(ann.request(update(vec!["description".into()], Task::default()))).await.unwrap();
    assert_eq!(cleared.into_inner().description, "");
    let untitled = refusal(ann.tasks().update_task(ann.request(update(vec!["title".into()], Task::default()))).await);
    assert_eq!(untitled.fields, ["task.title"]);
}

#[tokio::test]
async fn r_056_metacharacters_are_data_and_orders_are_on_a_list() {
    let sandbox = Sandbox::start();
    let ann = sandbox.sign_up().await;
    for title in ["100% done", "under_score", "quote ' quote", "NEAR(a b)", "plain"] {
        ann.create(title).await;
    }
    for (query, found) in [
        ("%", vec!["100% done"]),
        ("_", vec!["under_score"]),
        ("'", vec!["quote ' quote"]),
        ("NEAR(", vec!["NEAR(a b)"]),
        ("PLAIN", vec!["plain"]),
        ("\" OR 1=1 --", vec![]),
    ] {
        let page = list(&ann, ListTasksRequest { query: query.into(), ..Default::default() }).await.unwrap();
        let titles: Vec<_> = page.tasks.iter().map(|task| task.title.as_str()).collect();
        assert_eq!(titles, found, "{query}");
    }
    for order in [
        "title",
        "create_time; DROP TABLE tasks",
        "create_time,due_time",
        "create_time descending",
        "owner",
        "CREATE_TIME",
    ] {
        let refusal = refusal(list(&ann, ListTasksRequest { order_by: order.into(), ..Default::default() }).await);
        assert_eq!((refusal.code, refusal.fields), (Code::InvalidArgument, vec!["orderBy".to_owned()]), "{order}");
    }
    for order in ["create_time", "create_time desc", "due_time", "due_time desc", "update_time", "update_time desc"] {
        assert_eq!(
            list(&ann, ListTasksRequest { order_by: order.into(), ..Default::default() }).await.unwrap().tasks.len(),
            5,
            "{order}"
        );
    }
}

#[tokio::test]
async fn r_057_ids_are_lower_case_uuids() {
    let sandbox = Sandbox::start();
    let ann = sandbox.sign_up().await;
    let long = "a".repeat(10_240);
    for bad in
        ["", "1", "not-a-uuid", "01890000-0000-7000-8000-00000000000A", "{01890000-0000-7000-8000-000000000000}", &long]
    {
        let get = GetTaskRequest { task_id: bad.to_owned() };
        let refusal = refusal(ann.tasks().get_task(ann.request(get)).await);
        assert_eq!((refusal.code, refusal.fields), (Code::InvalidArgument, vec!["taskId".to_owned()]), "{bad:.40}");
        let update =
            UpdateTaskRequest { task: Some(Task { id: bad.to_owned(), ..titled("new") }), ..Default::default() };
        assert_eq!(
            reason(ann.tasks().update_task(ann.request(update)).await),
            refused(Code::InvalidArgument, "INVALID_FIELDS"),
            "{bad:.40}"
        );
    }
    let get = GetTaskRequest { task_id: "01890000-0000-7000-8000-000000000000".into() };
    assert_eq!(reason(ann.tasks().get_task(ann.request(get)).await), refused(Code::NotFound, "TASK_NOT_FOUND"));
}

#[tokio::test]
async fn r_058_times_lie_between_the_years_1_and_9999() {
    let sandbox = Sandbox::start();
    let ann = sandbox.sign_up().await;
    let due = |seconds: i64, nanos: i32| Task { due_time: Some(Timestamp { seconds, nanos }), ..titled("task") };
    for (seconds, nanos) in [(-62_135_596_800, 0), (253_402_300_799, 999_999_000), (0, 0), (-1, 500_000_000)] {
        let task = create(&ann, due(seconds, nanos)).await.unwrap();
        assert_eq!(task.due_time, Some(Timestamp { seconds, nanos }));
    }
    for (seconds, nanos) in
        [(-62_135_596_801, 0), (253_402_300_800, 0), (0, -1), (0, 1_000_000_000), (i64::MIN, 0), (i64::MAX, i32::MAX)]
    {
        let refusal = refusal(create(&ann, due(seconds, nanos)).await);
        assert_eq!(
            (refusal.code, refusal.fields),
            (Code::InvalidArgument, vec!["task.dueTime".to_owned()]),
            "{seconds} {nanos}"
        );
    }
    let request =
        ListTasksRequest { due_after: Some(Timestamp { seconds: i64::MAX, nanos: -5 }), ..Default::default() };
    assert_eq!(refusal(list(&ann, request).await).fields, ["dueAfter"]);
}

#[tokio::test]
async fn filters_narrow_the_list_and_can_be_joined() {
    let sandbox = Sandbox::start();
    let ann = sandbox.sign_up().await;
    for number in 0..6i64 {
        let task = Task {
            description: if number % 2 == 0 { "even" } else { "odd" }.to_owned(),
            labels: if number < 3 { vec!["low".to_owned()] } else { vec![] },
            due_time: Some(Timestamp { seconds: 1_800_000_000 + number, nanos: 0 }),
            ..titled(&format!("task {number}"))
        };
        create(&ann, task).await.unwrap();
    }
    let titles = async |request: ListTasksRequest| -> Vec<String> {
        list(&ann, request).await.unwrap().tasks.into_iter().map(|task| task.title).collect()
    };
    let at = |seconds: i64| Some(Timestamp { seconds: 1_800_000_000 + seconds, nanos: 0 });
    assert_eq!(
        titles(ListTasksRequest { label: "low".into(), ..Default::default() }).await,
        ["task 0", "task 1", "task 2"]
    );
    let due = ListTasksRequest {
        due_after: at(2),
        due_before: at(4),
        order_by: "due_time desc".into(),
        ..Default::default()
    };
    assert_eq!(titles(due).await, ["task 3", "task 2"]);
    let joined = ListTasksRequest {
        label: "low".into(),
        query: "EVEN task".into(),
        order_by: "update_time desc".into(),
        ..Default::default()
    };
    assert_eq!(titles(joined).await, ["task 2", "task 0"]);
    assert!(titles(ListTasksRequest { completed: Some(true), ..Default::default() }).await.is_empty());
}

//! Several replicas on one database: what one writes, the others see.

use std::collections::BTreeSet;

use errand_cluster::Cluster;
use errand_proto::task::{EraseMeRequest, WatchTasksRequest};
use errand_storage::{
    Place,
    postgres::{Settings, migrate},
};
use errand_task::{Role, SCHEMA};
use tokio::task::JoinSet;
use tokio_stream::StreamExt;
use tonic::Code;

use crate::{
    refusal, titled, update,
    watch::{next, title, watch},
    world::{World, open},
};

const SCOPES: &str = "tasks:read tasks:write erase";

/// Two more replicas on the world's database; none where there is no server.
async fn replicas(world: &World, shape: impl Fn(&mut Settings)) -> Option<(Role, Role)> {
    let replica = async || match world.home.place() {
        Place::File(_) => None,
        Place::Server(mut settings) => {
            shape(&mut settings);
            Some(open(Place::Server(settings), &world.clock, &world.drain).await)
        }
    };
    Some((replica().await?, replica().await?))
}

#[tokio::test]
async fn a_watch_on_one_replica_sees_what_another_one_writes() {
    // Told by the server, and asking for it behind a pooler.
    for pooler in [false, true] {
        let world = World::new().await;
        let Some((here, there)) = replicas(&world, |settings| settings.pooler = pooler).await else { return };
        let (watcher, writer) = (world.user_of(&here, 1, SCOPES), world.user_of(&there, 1, SCOPES));
        let mut stream = watch(&watcher, "").await;
        for number in 0..5 {
            let made = writer.create(titled(&format!("task {number}"))).await.unwrap();
            let change = next(&mut stream).await;
            assert_eq!((title(&change), &change.task_id), (made.title.as_str(), &made.id));
        }
        world.user_of(&there, 2, SCOPES).create(titled("somebody else's")).await.unwrap();
        writer.client().erase_me(writer.signed(EraseMeRequest {})).await.unwrap();
        let gone = (Code::Unauthenticated, "ACCOUNT_DELETED".to_owned());
        assert_eq!(refusal(stream.next().await.unwrap()), gone, "who watches is told everywhere");
        let again = watcher.client().watch_tasks(watcher.signed(WatchTasksRequest::default())).await;
        assert_eq!(refusal(again.map(drop)), gone);
    }
}

#[tokio::test]
async fn a_stream_goes_on_at_another_replica() {
    let world = World::new().await;
    let Some((here, there)) = replicas(&world, |_| {}).await else { return };
    let (at_first, later) = (world.user_of(&here, 1, SCOPES), world.user_of(&there, 1, SCOPES));
    let mut stream = watch(&at_first, "").await;
    let mut cursor = String::new();
    for number in 0..20 {
        later.create(titled(&format!("task {number}"))).await.unwrap();
        if number < 10 {
            cursor = next(&mut stream).await.cursor;
        }
    }
    here.close().await;
    let mut stream = watch(&later, &cursor).await;
    for number in 10..20 {
        assert_eq!(title(&next(&mut stream).await), format!("task {number}"));
    }
}

#[tokio::test]
async fn streams_hold_no_connection_while_they_wait() {
    let world = World::new().await;
    let Some((here, _)) = replicas(&world, |settings| settings.connections = 1).await else { return };
    let mut streams = Vec::new();
    for number in 0..50 {
        let user = world.user_of(&here, number % 7, SCOPES);
        streams.push((number, watch(&user, "").await));
    }
    for number in 0..7 {
        world.user_of(&here, number, SCOPES).create(titled(&format!("of {number}"))).await.unwrap();
    }
    for (number, stream) in &mut streams {
        assert_eq!(title(&next(stream).await), format!("of {}", *number % 7));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn r_105_a_watch_goes_on_when_the_database_comes_back() {
    let Some(cluster) = Cluster::start() else { return };
    let world = World::new().await;
    let database = cluster.database();
    migrate::up(&Settings::new(database.url("errand_migrate").into()), &SCHEMA).await.unwrap();
    let place = Place::Server(Settings::new(database.url("errand_task").into()));
    let role = open(place, &world.clock, &world.drain).await;
    let user = world.user_of(&role, 1, SCOPES);
    let mut stream = watch(&user, "").await;
    let before = user.create(titled("before")).await.unwrap();
    assert_eq!(title(&next(&mut stream).await), "before");

    cluster.kill9();
    let answer = user.get(&before.id).await;
    assert_eq!(answer.unwrap_err().code(), Code::Unavailable);
    let mut request = titled("after");
    request.request_id = "r1".into();
    let answer = user.create(request.clone()).await;
    assert_eq!(answer.unwrap_err().code(), Code::Unavailable);
    cluster.restart();
    let mut ready = role.ready();
    while !ready.takes_writes() {
        ready.changed().await;
    }
    let after = loop {
        match user.create(request.clone()).await {
            Ok(task) => break task,
            Err(status) => assert_eq!(status.code(), Code::Unavailable, "{status}"),
        }
    };
    let change = next(&mut stream).await;
    assert_eq!((title(&change), &change.task_id), ("after", &after.id));
    assert_eq!(user.get(&before.id).await.unwrap(), before);
}

#[tokio::test(flavor = "multi_thread")]
async fn r_064_equal_requests_to_two_replicas_make_one_task() {
    let world = World::new().await;
    let Some((here, there)) = replicas(&world, |_| {}).await else { return };
    for round in 0..5 {
        let mut calls = JoinSet::new();
        for number in 0..32 {
            let user = world.user_of(if number % 2 == 0 { &here } else { &there }, 1, SCOPES);
            let mut request = titled("once");
            request.request_id = format!("round {round}").replace(' ', "-");
            calls.spawn(async move { user.create(request).await.unwrap().id });
        }
        let ids: BTreeSet<_> = calls.join_all().await.into_iter().collect();
        assert_eq!(ids.len(), 1);
    }
    let rows = world.rows().await;
    assert_eq!(rows, [("changes", 5), ("heads", 1), ("labels", 0), ("requests", 5), ("tasks", 5)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn r_072_of_32_updates_of_one_version_at_two_replicas_one_wins() {
    let world = World::new().await;
    let Some((here, there)) = replicas(&world, |_| {}).await else { return };
    let mut task = world.user_of(&here, 1, SCOPES).create(titled("0")).await.unwrap();
    for round in 0..5 {
        let mut calls = JoinSet::new();
        for number in 0..32 {
            let user = world.user_of(if number % 2 == 0 { &here } else { &there }, 1, SCOPES);
            let mut changed = task.clone();
            changed.title = format!("{round}/{number}");
            calls.spawn(async move { user.update(update(changed, &["title"])).await });
        }
        let (won, lost): (Vec<_>, Vec<_>) = calls.join_all().await.into_iter().partition(Result::is_ok);
        assert_eq!((won.len(), lost.len()), (1, 31));
        for answer in lost {
            assert_eq!(refusal(answer), (Code::Aborted, "ETAG_MISMATCH".to_owned()));
        }
        task = won.into_iter().next().unwrap().unwrap();
    }
}

//! An owner who leaves.

use errand_proto::task::{EraseMeRequest, ListChangesRequest, ListTasksRequest, WatchTasksRequest};
use tokio_stream::StreamExt;
use tonic::Code;

use crate::{batches::create_all, refusal, titled, world::World};

#[tokio::test]
async fn r_041_what_was_erased_is_gone_for_good_and_can_not_be_written_again() {
    let mut world = World::new().await;
    let (user, other) = (world.user(1), world.user(2));
    create_all(&user, 700).await;
    let kept = other.create(titled("theirs")).await.unwrap();
    let mut watching = user.client().watch_tasks(user.signed(WatchTasksRequest::default())).await.unwrap().into_inner();

    let erase = async |world: &World, scope: &str| {
        let user = world.user_with(1, scope);
        user.client().erase_me(user.signed(EraseMeRequest {})).await
    };
    let missing = (Code::PermissionDenied, "SCOPE_MISSING".to_owned());
    assert_eq!(refusal(erase(&world, "tasks:read tasks:write chat account").await), missing);
    erase(&world, "erase").await.unwrap();
    erase(&world, "erase").await.unwrap();

    let gone = (Code::Unauthenticated, "ACCOUNT_DELETED".to_owned());
    assert_eq!(refusal(watching.next().await.unwrap()), gone, "who watches is told");
    for _ in 0..2 {
        let user = world.user(1);
        assert_eq!(refusal(user.create(titled("again")).await), gone);
        assert_eq!(refusal(user.list(ListTasksRequest::default()).await), gone);
        let changes = user.client().list_changes(user.signed(ListChangesRequest::default())).await;
        assert_eq!(refusal(changes), gone);
        let watch = user.client().watch_tasks(user.signed(WatchTasksRequest::default())).await;
        assert_eq!(refusal(watch.map(drop)), gone);
        world.restart().await;
    }
    assert_eq!(world.user(2).get(&kept.id).await.unwrap(), kept);
    assert_eq!(world.rows().await, [("changes", 1), ("heads", 2), ("labels", 0), ("requests", 0), ("tasks", 1)]);
}

#[tokio::test]
async fn erasing_is_remembered_for_those_who_never_wrote() {
    let world = World::new().await;
    let user = world.user_with(1, "erase");
    user.client().erase_me(user.signed(EraseMeRequest {})).await.unwrap();
    assert_eq!(refusal(world.user(1).create(titled("x")).await).1, "ACCOUNT_DELETED");
}

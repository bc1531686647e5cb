use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::BufMut;
use errand_changelog::{Actor, Origin};
use errand_chassis::{
    clock::{Clock, ManualClock},
    page_token::PageTokens,
    secret::Secret,
};
use jiff::SignedDuration;
use tokio::task::JoinSet;
use uuid::Uuid;

use super::*;
use crate::{
    app::Command,
    domain::{
        task::{Description, Labels, Priority, Title},
        write::{Draft, Write},
    },
    store::sqlite::{MIGRATIONS, Sqlite},
};

static ENCODED: AtomicUsize = AtomicUsize::new(0);

/// Eight bytes a change, and counts them.
fn encode(change: &Change<Task>, _: Cursor, to: &mut BytesMut) {
    ENCODED.fetch_add(1, Ordering::Relaxed);
    to.put_i64(change.seq);
}

struct Bench {
    app: Arc<App>,
    clock: Arc<ManualClock>,
    drain: Drain,
    _folder: tempfile::TempDir,
}

impl Bench {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("task.db");
        errand_storage::migrate::up(&path, MIGRATIONS).unwrap();
        let (clock, drain) = (Arc::new(ManualClock::default()), Drain::new());
        let pages = PageTokens::new(&Secret::new(&[7; 32]).unwrap(), clock.clone()).unwrap();
        let store = Arc::new(Sqlite::open(&path).unwrap());
        let app = Arc::new(App::new(store, clock.clone(), pages, drain.clone(), encode));
        Self { app, clock, drain, _folder: folder }
    }

    async fn create(&self, count: usize) {
        let draft = Draft {
            title: Title::new("x").unwrap(),
            description: Description::default(),
            priority: Priority::None,
            due_time: None,
            labels: Labels::default(),
        };
        let new = || Command { target: None, write: Write::Create(draft.clone()), etag: None };
        let commands: Vec<_> = (0..count).map(|_| new()).collect();
        let origin = Origin { actor: Actor::User, turn: None, request: None };
        self.app.write(owner(), origin, &commands, false).await.unwrap();
    }

    async fn watch(&self) -> Watcher {
        let until = self.clock.now() + SignedDuration::from_hours(1);
        self.app.watch(owner(), None, until).await.unwrap()
    }

    fn watched(&self) -> usize {
        self.app.watches.0.owners().len()
    }
}

fn owner() -> UserId {
    UserId::from(Uuid::from_u128(1))
}

async fn seqs(watcher: &mut Watcher, count: usize) -> Vec<Seq> {
    let mut seqs = Vec::new();
    while seqs.len() < count {
        let Some(Watched::Changes(bytes)) = watcher.next().await else { panic!("{watcher:?}") };
        seqs.extend(bytes.chunks(8).map(|bytes| Seq::from_be_bytes(bytes.try_into().unwrap())));
    }
    seqs
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_thousand_watchers_share_one_reading_and_one_encoding() {
    let bench = Bench::new();
    let mut watching = JoinSet::new();
    for _ in 0..10_000 {
        let mut watcher = bench.watch().await;
        watching.spawn(async move { seqs(&mut watcher, 130).await });
    }
    assert_eq!(bench.watched(), 1);
    for count in [1, 9, 120] {
        bench.create(count).await;
    }
    let expected: Vec<Seq> = (1..=130).collect();
    assert!(watching.join_all().await.into_iter().all(|seqs| seqs == expected));
    assert_eq!(ENCODED.load(Ordering::Relaxed), 130, "each change is encoded once");
    // Nobody watches any more: nothing is followed and nothing is kept.
    while bench.watched() > 0 {
        tokio::task::yield_now().await;
    }
    assert_eq!(bench.app.store.hints().owners(), 0);
}

#[tokio::test]
async fn after_its_end_a_watch_says_nothing() {
    let bench = Bench::new();
    let mut watcher = bench.watch().await;
    bench.drain.begin();
    let Some(Watched::Handover(cursor)) = watcher.next().await else { panic!() };
    assert_eq!(cursor.seq, 0);
    assert!(watcher.next().await.is_none());
}

#[test]
fn a_chunk_goes_on_from_any_place_that_it_covers() {
    let chunk = Chunk { after: 10, ends: vec![(11, 3), (12, 5), (15, 9)], bytes: Bytes::from_static(b"aaabbcccc") };
    let from = |seen| chunk.from(seen).map(|(bytes, last)| (String::from_utf8(bytes.to_vec()).unwrap(), last));
    assert_eq!(from(9), None);
    assert_eq!(from(10), Some(("aaabbcccc".to_owned(), 15)));
    assert_eq!(from(11), Some(("bbcccc".to_owned(), 15)));
    for between in [12, 13, 14] {
        assert_eq!(from(between), Some(("cccc".to_owned(), 15)), "a gap is what was compacted");
    }
    assert_eq!(from(15), None);
}

#[test]
fn what_is_kept_is_bounded_in_number_and_in_bytes() {
    let mut recent = Recent::default();
    let chunk =
        |seq: Seq, size: usize| Chunk { after: seq - 1, ends: vec![(seq, size)], bytes: Bytes::from(vec![0; size]) };
    for seq in 1..100 {
        recent.push(chunk(seq, 10), seq);
    }
    assert_eq!((recent.chunks.len(), recent.size), (KEPT_CHUNKS, KEPT_CHUNKS * 10));
    for seq in 100..200 {
        recent.push(chunk(seq, KEPT_BYTES / 2), seq);
    }
    assert_eq!((recent.chunks.len(), recent.size, recent.level), (2, KEPT_BYTES, 199));
    recent.push(chunk(200, KEPT_BYTES + 1), 200);
    assert_eq!((recent.chunks.len(), recent.size, recent.level), (0, 0, 200));
}

//! Ten thousand watchers of one user, fed in one run.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Instant,
};

use errand_proto::task::{WatchTasksRequest, task_service_client::TaskServiceClient};
use tokio::sync::Notify;
use tonic::{
    Status,
    metadata::{Ascii, MetadataValue},
    transport::Endpoint,
};

use crate::{Result, Server, create, with};

/// Streams of one connection: the limit at the edge.
const STREAMS: usize = 100;
const CONNECTIONS: usize = 100;
const WATCHERS: usize = STREAMS * CONNECTIONS;
const CHANGES: u64 = 20;

/// Opens the watches, makes changes, and waits until every watcher has seen every change.
pub(crate) async fn run(server: &Server, token: &MetadataValue<Ascii>) -> Result<()> {
    let (seen, all_seen) = (Arc::new(AtomicU64::new(0)), Arc::new(Notify::new()));
    let expected = WATCHERS as u64 * CHANGES;
    let mut watchers = Vec::new();
    for _ in 0..CONNECTIONS {
        let channel = Endpoint::from_shared(server.url.clone())?.connect().await?;
        for _ in 0..STREAMS {
            let mut client = TaskServiceClient::new(channel.clone());
            // Answered once the watch stands: what happens from here on is seen.
            let mut changes = client.watch_tasks(with(WatchTasksRequest::default(), token)).await?.into_inner();
            let (seen, all_seen) = (seen.clone(), all_seen.clone());
            watchers.push(tokio::spawn(async move {
                while changes.message().await?.is_some() {
                    if seen.fetch_add(1, Ordering::Relaxed) + 1 == expected {
                        all_seen.notify_one();
                    }
                }
                Ok::<_, Status>(())
            }));
        }
    }
    let open = server.resident_mib()?;

    // The writer has a connection of its own.
    let mut writer = TaskServiceClient::new(Endpoint::from_shared(server.url.clone())?.connect().await?);
    let (began, cpu) = (Instant::now(), server.cpu()?);
    for _ in 0..CHANGES {
        create(&mut writer, token).await?;
    }
    let written = began.elapsed();
    all_seen.notified().await;
    let (took, cpu) = (began.elapsed(), server.cpu()? - cpu);
    watchers.iter().for_each(tokio::task::JoinHandle::abort);

    #[expect(clippy::cast_precision_loss, reason = "a count of messages is far below 2^52")]
    let delivered = expected as f64;
    println!(
        "\n{WATCHERS} watchers, {CHANGES} changes: written in {:.0} ms, all seen after {:.0} ms, {:.0} messages/s, \
         {:.1} us server CPU a message, {open:.0} MiB resident with all open",
        written.as_secs_f64() * 1e3,
        took.as_secs_f64() * 1e3,
        delivered / took.as_secs_f64(),
        cpu * 1e6 / delivered,
    );
    Ok(())
}

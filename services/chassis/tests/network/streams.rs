//! Streams have connections of their own.

use std::collections::BTreeSet;

use errand_chassis::{address::PeerAddress, server::Limits};
use http_body_util::BodyExt;
use tonic::Code;

use crate::world::{Peer, READ, Script, WATCH, WRITE, ask, outcome, remote, request, send, until};

/// The connections, by their port at our end, that calls of this path came through.
fn connections(script: &Script, path: &str) -> BTreeSet<u16> {
    let heads = script.heads.lock().unwrap();
    let of_path = heads.iter().filter(|head| head.uri.path() == path);
    of_path.filter_map(|head| head.extensions.get::<PeerAddress>()).map(|peer| peer.0.port()).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r_113_a_thousand_streams_never_stand_in_the_way_of_a_call() {
    let script = Script::default();
    let peer = Peer::start(&script);
    let upstream = remote(&[&peer]);
    let opening = (0..1000).map(|_| {
        let upstream = upstream.clone();
        tokio::spawn(async move { send(&upstream, request(WATCH)).await })
    });
    let mut streams = Vec::new();
    for stream in opening.collect::<Vec<_>>() {
        let response = stream.await.unwrap();
        assert!(!response.headers().contains_key("grpc-status"), "{:?}", response.headers());
        streams.push(response);
    }
    until("all streams are open", || script.inside() == 1000).await;
    for path in [READ, WRITE].repeat(20) {
        assert_eq!(ask(&upstream, request(path)).await.code, Code::Ok);
    }
    let (of_streams, of_calls) = (connections(&script, WATCH), connections(&script, READ));
    assert!((10..=12).contains(&of_streams.len()), "a hundred on each of {}", of_streams.len());
    assert!(of_calls.is_disjoint(&of_streams) && of_calls.len() <= 2, "{of_calls:?}");
    drop(streams);
    until("all streams have ended", || script.inside() == 0).await;
    // Their connections are used again.
    let again = send(&upstream, request(WATCH)).await;
    assert_eq!(connections(&script, WATCH), of_streams);
    drop(again);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn more_calls_than_a_connection_takes_get_another_one() {
    let script = Script::default();
    script.close();
    let peer = Peer::with(&script, Limits { streams: 5, ..Limits::default() });
    let upstream = remote(&[&peer]);
    let calls: Vec<_> = (0..60)
        .map(|_| {
            let upstream = upstream.clone();
            tokio::spawn(async move { ask(&upstream, request(WRITE)).await })
        })
        .collect();
    until("all are there", || script.inside() == 60).await;
    assert!((12..=16).contains(&connections(&script, WRITE).len()), "{:?}", connections(&script, WRITE));
    script.open();
    for call in calls {
        assert_eq!(call.await.unwrap().code, Code::Ok);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_whose_peer_is_killed_says_so_and_a_new_one_finds_the_next() {
    let (one, other) = (Script::default(), Script::default());
    let (first, second) = (Peer::start(&one), Peer::start(&other));
    let upstream = remote(&[&first, &second]);
    let mut streams = Vec::new();
    while one.inside() < 3 || other.inside() < 3 {
        let mut response = send(&upstream, request(WATCH)).await;
        assert!(response.body_mut().frame().await.unwrap().unwrap().is_data());
        streams.push(response);
    }
    assert!(streams.len() < 20, "they are spread over both");
    let lost = one.inside();
    first.kill().await;
    let reads: Vec<_> = streams.into_iter().map(|stream| tokio::spawn(outcome(stream))).collect();
    until("those on it have ended", || reads.iter().filter(|read| read.is_finished()).count() == lost).await;
    for read in reads.into_iter().filter(tokio::task::JoinHandle::is_finished) {
        let outcome = read.await.unwrap();
        assert_eq!((outcome.code, outcome.reason.as_str()), (Code::Unavailable, "UNAVAILABLE"));
        assert!(outcome.retries && outcome.names_call);
    }
    for _ in 0..5 {
        let stream = send(&upstream, request(WATCH)).await;
        assert!(!stream.headers().contains_key("grpc-status"));
    }
}

//! Names with several addresses, which change, and sockets of this machine.

use std::{
    io,
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::Duration,
};

use errand_chassis::{
    address::PeerAddress,
    listener::{Address, Listener},
    server::Limits,
    upstream::{Resolve, Settings, remote as connect},
};
use tonic::Code;

use crate::world::{Peer, READ, Script, WATCH, ask, remote, request, send, settings, within};

/// A name service that says what a test says.
#[derive(Debug, Default)]
struct Names(Mutex<Vec<SocketAddr>>);

#[tonic::async_trait]
impl Resolve for Names {
    async fn look_up(&self, host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
        assert_eq!((host, port), ("task.test", 50052));
        let addresses = self.0.lock().unwrap().clone();
        if addresses.is_empty() { Err(io::ErrorKind::NotFound.into()) } else { Ok(addresses) }
    }
}

impl Names {
    fn say(&self, peers: &[&Peer]) {
        *self.0.lock().unwrap() = peers.iter().map(|peer| SocketAddr::from(([127, 0, 0, 1], peer.port()))).collect();
    }
}

#[tokio::test]
async fn a_name_stands_for_all_its_addresses_and_is_looked_up_again() {
    let scripts: [Script; 3] = std::array::from_fn(|_| Script::default());
    let peers: Vec<_> = scripts.iter().map(Peer::start).collect();
    let names = Arc::new(Names::default());
    names.say(&[&peers[0], &peers[1]]);
    let resolve = Duration::from_millis(10);
    let settings = Settings { resolver: names.clone(), resolve, ..settings() };
    let upstream = connect("dns:///task.test:50052".parse().unwrap(), None, settings);
    let ask_until = async |done: &dyn Fn() -> bool| {
        let calls = async {
            while !done() {
                assert_eq!(ask(&upstream, request(READ)).await.code, Code::Ok);
            }
        };
        tokio::time::timeout(Duration::from_secs(20), calls).await.expect("not in time");
    };
    ask_until(&|| scripts[0].calls() > 0 && scripts[1].calls() > 0).await;
    assert_eq!(scripts[2].calls(), 0);

    // Scaled up, then down: the last is asked alone, and no call was lost on the way.
    names.say(&[&peers[0], &peers[1], &peers[2]]);
    ask_until(&|| scripts[2].calls() > 0).await;
    names.say(&[&peers[2]]);
    let quiet = Mutex::new((0, 0));
    ask_until(&|| {
        let others = scripts[0].calls() + scripts[1].calls();
        let mut quiet = quiet.lock().unwrap();
        *quiet = if quiet.0 == others { (others, quiet.1 + 1) } else { (others, 0) };
        quiet.1 > 200
    })
    .await;
    assert_eq!(ask(&upstream, request(READ)).await.code, Code::Ok);

    // A name service that does not answer changes nothing.
    names.say(&[]);
    for _ in 0..50 {
        assert_eq!(ask(&upstream, request(READ)).await.code, Code::Ok);
    }
}

#[tokio::test]
async fn a_name_that_is_not_known_yet_is_asked_for_until_it_is() {
    let script = Script::default();
    let peer = Peer::start(&script);
    let names = Arc::new(Names::default());
    let resolve = Duration::from_secs(3600);
    let patience = Duration::ZERO;
    let settings = Settings { resolver: names.clone(), resolve, patience, ..settings() };
    let upstream = connect("task.test:50052".parse().unwrap(), None, settings);
    assert_eq!(ask(&upstream, request(READ)).await.reason, "UNAVAILABLE");
    names.say(&[&peer]);
    let found = async {
        while ask(&upstream, request(READ)).await.code != Code::Ok {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), found).await.expect("not in time");
}

#[tokio::test]
async fn r_117_a_peer_whose_name_nobody_knows_is_away() {
    let patient = Settings { patience: Duration::from_secs(60), resolver: Arc::new(Names::default()), ..settings() };
    let upstream = connect("task.test:50052".parse().unwrap(), None, patient);
    let outcome = ask(&upstream, within(request(READ), "800m")).await;
    assert_eq!((outcome.code, outcome.reason.as_str()), (Code::Unavailable, "UNAVAILABLE"));
}

#[tokio::test]
async fn a_name_is_looked_up_at_once_when_nobody_answers_where_it_was() {
    let (old, new) = (Script::default(), Script::default());
    let (first, second) = (Peer::start(&old), Peer::start(&new));
    let names = Arc::new(Names::default());
    names.say(&[&first]);
    let settings = Settings { resolver: names.clone(), resolve: Duration::from_secs(3600), ..settings() };
    let upstream = connect("task.test:50052".parse().unwrap(), None, settings);
    assert_eq!(ask(&upstream, request(READ)).await.code, Code::Ok);
    names.say(&[&second]);
    first.stop().await;
    assert_eq!(ask(&upstream, request(READ)).await.code, Code::Ok);
    assert_eq!((old.calls(), new.calls()), (1, 1));
}

#[tokio::test]
async fn a_socket_of_this_machine_is_a_place_like_any_other() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("task.sock");
    let address: Address = format!("unix:{}", path.display()).parse().unwrap();
    let script = Script::default();
    // What a killed process has left behind is no hindrance.
    drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
    assert!(path.exists());
    let peer = Peer::on(&address, None, Limits::default(), script.upstream());
    assert!(Listener::bind(&address).is_err(), "somebody listens there");
    let upstream = remote(&[&peer]);
    assert_eq!(ask(&upstream, request(READ)).await.code, Code::Ok);
    drop(send(&upstream, request(WATCH)).await);
    let came_from = script.heads.lock().unwrap()[0].extensions.get::<PeerAddress>().map(|peer| peer.0.ip());
    assert_eq!(came_from, Some([127, 0, 0, 1].into()));
    peer.stop().await;
    assert!(!path.exists());

    // A file that is no socket is not touched.
    std::fs::write(&path, "mine").unwrap();
    assert!(Listener::bind(&address).is_err());
    assert_eq!(std::fs::read(&path).unwrap(), b"mine");
}

//! TLS at both ends, and certificates that are replaced while everything goes on.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use errand_chassis::{
    address::{ClientAddress, PeerVerified, believing},
    listener::{Address, Listener},
    server::Limits,
    tls::{ClientTls, ServerTls},
};
use http::HeaderValue;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::{ClientConfig, pki_types::ServerName};
use tempfile::TempDir;
use tokio::net::TcpStream;
use tokio_rustls::{TlsConnector, client::TlsStream};
use tonic::Code;

use crate::world::{Peer, READ, Script, ask, remote_over_tls, request};

/// An authority, and a folder for what it signs.
struct Office {
    authority: CertifiedIssuer<'static, KeyPair>,
    folder: TempDir,
}

impl Office {
    fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let authority = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let office = Self { authority, folder: tempfile::tempdir().unwrap() };
        fs::write(office.ca(), office.authority.pem()).unwrap();
        office
    }

    fn ca(&self) -> PathBuf {
        self.folder.path().join("ca.pem")
    }

    /// Certificate and key, as files of this name; the certificate is given back.
    fn sign(&self, file: &str, host: &str) -> (PathBuf, PathBuf, Vec<u8>) {
        let key = KeyPair::generate().unwrap();
        let certificate = CertificateParams::new([host.to_owned()]).unwrap().signed_by(&key, &self.authority).unwrap();
        let path = |kind: &str| self.folder.path().join(format!("{file}.{kind}"));
        // As a careful operator does it: no reader ever sees half a file.
        for (kind, text) in [("crt", certificate.pem()), ("key", key.serialize_pem())] {
            fs::write(path("new"), text).unwrap();
            fs::rename(path("new"), path(kind)).unwrap();
        }
        (path("crt"), path("key"), certificate.der().to_vec())
    }

    fn server(&self, client_ca: Option<&Path>) -> ServerTls {
        let (cert, key, _) = self.sign("server", "127.0.0.1");
        ServerTls::new(cert, key, client_ca.map(Path::to_owned)).unwrap()
    }
}

fn peer(script: &Script, tls: ServerTls) -> Peer {
    Peer::on(&"127.0.0.1:0".parse().unwrap(), Some(tls), Limits::default(), script.upstream())
}

async fn handshake(peer: &Peer, config: Arc<ClientConfig>) -> std::io::Result<TlsStream<TcpStream>> {
    let stream = TcpStream::connect(peer.address.to_string()).await?;
    TlsConnector::from(config).connect(ServerName::try_from("127.0.0.1").unwrap(), stream).await
}

#[tokio::test]
async fn a_peer_is_called_over_tls_when_its_certificate_is_of_our_authority_and_for_its_name() {
    let (office, stranger, script) = (Office::new(), Office::new(), Script::default());
    let peer = peer(&script, office.server(None));
    let good =
        remote_over_tls(&peer.address.to_string(), ClientTls::new(office.ca(), None).unwrap(), Duration::from_secs(5));
    assert_eq!(ask(&good, request(READ)).await.code, Code::Ok);

    let wrong_ca = ClientTls::new(stranger.ca(), None).unwrap();
    let wrong_name = format!("localhost:{}", peer.port());
    for refused in [
        remote_over_tls(&peer.address.to_string(), wrong_ca, Duration::ZERO),
        remote_over_tls(&wrong_name, ClientTls::new(office.ca(), None).unwrap(), Duration::ZERO),
    ] {
        for _ in 0..3 {
            assert_eq!(ask(&refused, request(READ)).await.reason, "UNAVAILABLE");
        }
    }
    assert_eq!(script.calls(), 1);
}

#[tokio::test]
async fn without_tls_nothing_is_said_to_a_port_that_has_it() {
    let (office, script) = (Office::new(), Script::default());
    let peer = peer(&script, office.server(None));
    let settings = errand_chassis::upstream::Settings { patience: Duration::ZERO, ..crate::world::settings() };
    let plain = errand_chassis::upstream::remote(peer.address.to_string().parse().unwrap(), None, settings);
    assert_eq!(ask(&plain, request(READ)).await.reason, "UNAVAILABLE");
    assert_eq!(script.calls(), 0);
}

#[tokio::test]
async fn a_certificate_that_is_replaced_on_disk_is_shown_to_the_next_connection() {
    let (office, script) = (Office::new(), Script::default());
    let peer = peer(&script, office.server(None));
    let tls = ClientTls::new(office.ca(), None).unwrap();
    let upstream = remote_over_tls(&peer.address.to_string(), tls.clone(), Duration::from_secs(5));
    assert_eq!(ask(&upstream, request(READ)).await.code, Code::Ok);
    let shown = async || {
        let stream = handshake(&peer, tls.config()).await.unwrap();
        stream.get_ref().1.peer_certificates().unwrap()[0].to_vec()
    };
    let first = shown().await;
    let (_, key, second) = office.sign("server", "127.0.0.1");
    assert_ne!(first, second);
    let replaced = async { while shown().await != second {} };
    tokio::time::timeout(Duration::from_secs(20), replaced).await.expect("not in time");

    // A key that does not fit is not taken; what was good stays.
    fs::write(&key, KeyPair::generate().unwrap().serialize_pem()).unwrap();
    let began = tokio::time::Instant::now();
    while began.elapsed() < Duration::from_millis(1500) {
        assert_eq!(shown().await, second);
    }
    let (_, _, third) = office.sign("server", "127.0.0.1");
    let replaced = async { while shown().await != third {} };
    tokio::time::timeout(Duration::from_secs(20), replaced).await.expect("not in time");
    assert_eq!(ask(&upstream, request(READ)).await.code, Code::Ok);
}

#[tokio::test]
async fn where_a_certificate_is_demanded_nobody_gets_in_without_one_of_ours() {
    let (office, stranger, script) = (Office::new(), Office::new(), Script::default());
    let service = believing(script.upstream(), Vec::new());
    let address: Address = "127.0.0.1:0".parse().unwrap();
    let peer = Peer::on(&address, Some(office.server(Some(&office.ca()))), Limits::default(), service);
    let identity = |office: &Office| {
        let (cert, key, _) = office.sign("gateway", "gateway");
        Some((cert, key))
    };
    let targets = peer.address.to_string();
    for refused in [None, identity(&stranger)] {
        let tls = ClientTls::new(office.ca(), refused).unwrap();
        let upstream = remote_over_tls(&targets, tls, Duration::ZERO);
        for _ in 0..3 {
            assert_eq!(ask(&upstream, request(READ)).await.reason, "UNAVAILABLE");
        }
    }
    assert_eq!(script.calls(), 0);

    let tls = ClientTls::new(office.ca(), identity(&office)).unwrap();
    let upstream = remote_over_tls(&targets, tls, Duration::from_secs(5));
    let mut call = request(READ);
    call.extensions_mut().insert(ClientAddress([192, 0, 2, 7].into()));
    assert_eq!(ask(&upstream, call).await.code, Code::Ok);
    let heads = script.heads.lock().unwrap();
    assert!(heads[0].extensions.get::<PeerVerified>().is_some());
    let client = heads[0].extensions.get::<ClientAddress>().unwrap();
    assert_eq!(client.0.to_string(), "192.0.2.7", "who has shown a certificate of ours is believed");
}

#[tokio::test]
async fn a_port_with_tls_speaks_both_versions_of_http() {
    let (office, script) = (Office::new(), Script::default());
    let peer = peer(&script, office.server(None));
    let tls = ClientTls::new(office.ca(), None).unwrap();
    for (offered, agreed) in
        [(vec!["h2", "http/1.1"], Some("h2")), (vec!["http/1.1"], Some("http/1.1")), (Vec::new(), None)]
    {
        let mut config = (*tls.config()).clone();
        config.alpn_protocols = offered.into_iter().map(|name| name.as_bytes().to_vec()).collect();
        let stream = handshake(&peer, Arc::new(config)).await.unwrap();
        assert_eq!(stream.get_ref().1.alpn_protocol(), agreed.map(str::as_bytes));
        if agreed == Some("http/1.1") {
            let io = hyper_util::rt::TokioIo::new(stream);
            let (mut sender, connection) = hyper::client::conn::http1::handshake(io).await.unwrap();
            tokio::spawn(connection);
            let mut call = request(READ);
            call.headers_mut().insert("host", HeaderValue::from_static("127.0.0.1"));
            assert_eq!(sender.send_request(call).await.unwrap().status(), 200);
        }
    }
}

#[tokio::test]
async fn files_that_are_no_certificates_are_named() {
    let office = Office::new();
    let (cert, key, _) = office.sign("server", "127.0.0.1");
    let absent = office.folder.path().join("absent");
    let said = |error: errand_chassis::tls::TlsError| error.to_string();
    assert!(said(ServerTls::new(&absent, &key, None).unwrap_err()).contains("absent can not be read"));
    assert!(said(ServerTls::new(&key, &key, None).unwrap_err()).contains("has no certificate in PEM"));
    assert!(said(ServerTls::new(&cert, &cert, None).unwrap_err()).contains("has no private key in PEM"));
    assert!(said(ServerTls::new(&cert, &key, Some(absent)).unwrap_err()).contains("absent"));
    let other = office.sign("other", "127.0.0.1").1;
    assert!(said(ServerTls::new(&cert, &other, None).unwrap_err()).contains("do not fit together"));
    assert!(ClientTls::new(&key, None).is_err());
    assert!(format!("{:?}", ServerTls::new(&cert, &key, None).unwrap()).contains("server.crt"));
    assert!(Listener::bind(&"203.0.113.1:1".parse().unwrap()).is_err());
}

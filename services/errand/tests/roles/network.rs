//! How roles reach each other: ports, Unix sockets, TLS at the gateway and both ways between roles.

use std::{fs, net::TcpListener};

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};

use crate::world::{Server, Settings, World, code, stderr, stdout};

const ROLES: [&str; 4] = ["auth", "task", "chat", "gateway"];

/// Serves all four apart, each on its address, each told `settings` on top.
fn serve(world: &World, addresses: &[String; 4], settings: Settings<'_>) -> [Server; 4] {
    let [auth, task, chat, _] = addresses;
    let targets = [("ERRAND_AUTH_TARGET", auth.as_str()), ("ERRAND_TASK_TARGET", task), ("ERRAND_CHAT_TARGET", chat)];
    let mut addresses = addresses.iter();
    ROLES.map(|role| {
        let listen = [("ERRAND_LISTEN", addresses.next().unwrap().as_str())];
        world.serve(role, &[&targets, settings, &listen].concat())
    })
}

/// Four ports that were free a moment ago.
fn ports() -> [String; 4] {
    let listeners = ROLES.map(|_| TcpListener::bind("127.0.0.1:0").unwrap());
    listeners.map(|listener| listener.local_addr().unwrap().to_string())
}

/// Signs up, makes tasks and has a conversation through the gateway.
fn story(world: &World, gateway: &Server, settings: Settings<'_>) {
    world.until(0, &["healthcheck", "--url", &gateway.url], settings);
    let seeded = world.run(&["seed", "--url", &gateway.url], settings);
    assert_eq!(code(&seeded), 0, "{}", stderr(&seeded));
    assert!(stdout(&seeded).contains("made demo@example.com with 8 tasks and a conversation"), "{}", stdout(&seeded));
    assert_eq!(world.database().run("SELECT count(*) FROM task.tasks"), "9", "one of them by the assistant");
}

fn end(servers: [Server; 4]) {
    // Callers before those they call.
    for server in servers.into_iter().rev() {
        let (code, log) = server.stop();
        assert_eq!(code, Some(0), "{log}");
        assert!(!log.contains("panicked"), "{log}");
    }
}

#[test]
fn four_processes_do_what_one_does() {
    let Some(world) = World::migrated() else { return };
    let servers = serve(&world, &ports(), &[]);
    story(&world, &servers[3], &[]);
    for server in &servers {
        assert_eq!(code(&world.run(&["healthcheck", "--url", &server.url], &[])), 0);
    }
    end(servers);
}

#[test]
fn roles_meet_on_unix_sockets() {
    let Some(world) = World::migrated() else { return };
    let sockets = ROLES.map(|role| format!("unix:{}", world.text(role)));
    let servers = serve(&world, &sockets, &[]);
    assert_eq!(servers[3].url, sockets[3]);
    story(&world, &servers[3], &[]);
    let [auth, ..] = &servers;
    assert_eq!(code(&world.run(&["healthcheck", "--url", &auth.url], &[])), 0);
    end(servers);
    assert!(ROLES.iter().all(|role| !world.path(role).exists()), "sockets are taken away");
}

#[test]
fn several_roles_share_a_process_and_a_port() {
    let Some(world) = World::migrated() else { return };
    let urls =
        ["AUTH", "TASK", "CHAT"].map(|role| (format!("ERRAND_{role}_DATABASE_URL"), world.url(&role.to_lowercase())));
    let mut settings: Vec<(&str, &str)> = urls.iter().map(|(name, url)| (name.as_str(), url.as_str())).collect();
    let (secret, socket) = (world.text("secret"), format!("unix:{}", world.text("services")));
    settings.extend([("ERRAND_SECRET_KEY_FILE", secret.as_str()), ("ERRAND_LISTEN", &socket)]);
    let services = Server::of(world.start(&["serve", "chat", "task", "auth"], &settings));
    let targets =
        ["ERRAND_AUTH_TARGET", "ERRAND_TASK_TARGET", "ERRAND_CHAT_TARGET"].map(|name| (name, socket.as_str()));
    let gateway = world.serve("gateway", &targets);
    story(&world, &gateway, &[]);
    assert_eq!((gateway.stop().0, services.stop().0), (Some(0), Some(0)));
}

/// An issuer, and a certificate of its for this machine, as files.
fn certify(world: &World, issuer: &str) -> [String; 3] {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let ca = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
    let key = KeyPair::generate().unwrap();
    let params = CertificateParams::new(vec!["localhost".to_owned(), "127.0.0.1".to_owned()]).unwrap();
    let leaf = params.signed_by(&key, &ca).unwrap();
    let paths = ["ca", "cert", "key"].map(|what| world.text(&format!("{issuer}-{what}.pem")));
    for (path, pem) in paths.iter().zip([ca.pem(), leaf.pem(), key.serialize_pem()]) {
        fs::write(path, pem).unwrap();
    }
    paths
}

#[test]
fn tls_at_the_gateway_and_both_ways_between_roles() {
    let Some(world) = World::migrated() else { return };
    let [ca, cert, key] = &certify(&world, "ours");
    let [other_ca, other_cert, other_key] = &certify(&world, "others");
    let peers = [("ERRAND_PEER_TLS_CA", ca.as_str()), ("ERRAND_PEER_TLS_CERT", cert), ("ERRAND_PEER_TLS_KEY", key)];
    let port = [("ERRAND_TLS_CERT", cert.as_str()), ("ERRAND_TLS_KEY", key)];
    let mutual = [("ERRAND_TLS_CLIENT_CA", ca.as_str())];
    let addresses = ports();
    let [auth, task, chat, listen] = &addresses;
    let targets = [("ERRAND_AUTH_TARGET", auth.as_str()), ("ERRAND_TASK_TARGET", task), ("ERRAND_CHAT_TARGET", chat)];
    let role = |role, listen: &str| {
        world.serve(role, &[&targets[..], &peers, &port, &mutual, &[("ERRAND_LISTEN", listen)]].concat())
    };
    let (auth, task, chat) = (role("auth", auth), role("task", task), role("chat", chat));
    let gateway =
        world.serve("gateway", &[&targets[..], &peers, &port, &[("ERRAND_LISTEN", listen.as_str())]].concat());
    assert_eq!(gateway.url, format!("https://{listen}"));

    // The gateway takes everybody who trusts it, a role only who shows a certificate of ours.
    let trusting = [("ERRAND_PEER_TLS_CA", ca.as_str())];
    story(&world, &gateway, &trusting);
    let check =
        |server: &Server, settings: Settings<'_>| code(&world.run(&["healthcheck", "--url", &server.url], settings));
    assert_eq!(check(&task, &peers), 0);
    assert_eq!(check(&task, &trusting), 75, "without a certificate");
    let strange =
        [("ERRAND_PEER_TLS_CA", ca.as_str()), ("ERRAND_PEER_TLS_CERT", other_cert), ("ERRAND_PEER_TLS_KEY", other_key)];
    assert_eq!(check(&task, &strange), 75, "with a certificate of somebody else");
    assert_eq!(check(&gateway, &[("ERRAND_PEER_TLS_CA", other_ca.as_str())]), 75, "not trusted");
    // Who is beside a server asks it with its settings, whatever name its certificate is for.
    let beside = |listen: &str, settings: Settings<'_>| {
        let listen = [("ERRAND_LISTEN", listen)];
        code(&world.run(&["healthcheck"], &[&port, settings, &listen].concat()))
    };
    assert_eq!((beside(listen, &[]), beside(&addresses[1], &peers)), (0, 0));
    let another = [("ERRAND_TLS_CERT", other_cert.as_str()), ("ERRAND_TLS_KEY", other_key)];
    assert_eq!(beside(listen, &another), 75, "somebody else listens there");
    let plain = gateway.url.replace("https", "http");
    assert_eq!(code(&world.run(&["healthcheck", "--url", &plain], &[])), 75, "without TLS");
    let untold = world.run(&["healthcheck", "--url", &gateway.url], &[]);
    assert_eq!(code(&untold), 78);
    assert!(stderr(&untold).contains("ERRAND_PEER_TLS_CA"), "{}", stderr(&untold));
    end([auth, task, chat, gateway]);
}

//! When a process says that it serves: with keys to verify tokens, and with a database that takes writes.

use errand_cluster::Cluster;

use crate::world::World;

#[test]
fn nobody_serves_before_there_are_keys() {
    let Some(world) = World::migrated() else { return };
    let socket = format!("unix:{}", world.text("auth"));
    let targets = [("ERRAND_AUTH_TARGET", socket.as_str())];
    let (task, gateway) = (world.serve("task", &targets), world.serve("gateway", &targets));
    for server in [&task, &gateway] {
        world.until(75, &["healthcheck", "--url", &server.url], &[]);
    }
    let auth = world.serve("auth", &[("ERRAND_LISTEN", &socket)]);
    for server in [&auth, &task, &gateway] {
        world.until(0, &["healthcheck", "--url", &server.url], &[]);
    }
    // Once they are there they stay, also while auth is away.
    assert_eq!(auth.stop().0, Some(0));
    for server in [task, gateway] {
        world.until(0, &["healthcheck", "--url", &server.url], &[]);
        assert_eq!(server.stop().0, Some(0));
    }
}

#[test]
fn a_role_whose_database_is_away_does_not_serve_until_it_is_back() {
    let Some(cluster) = Cluster::start() else { return };
    let world = World::on(&cluster);
    world.migrate();
    let auth = world.serve("auth", &[]);
    world.until(0, &["healthcheck", "--url", &auth.url], &[]);
    cluster.kill9();
    world.until(75, &["healthcheck", "--url", &auth.url], &[]);
    cluster.restart();
    world.until(0, &["healthcheck", "--url", &auth.url], &[]);
    assert_eq!(auth.stop().0, Some(0));
}

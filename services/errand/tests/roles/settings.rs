//! What a role can not do without, and what it is told with.

use std::fs;

use crate::world::{Server, World, code, stderr, stdout};

/// A command that is refused before anything is touched, with a sentence that says what to do.
fn refused(world: &World, arguments: &[&str], settings: &[(&str, &str)], expected: i32, sentences: &[&str]) {
    let output = world.run(arguments, settings);
    let said = stderr(&output);
    assert_eq!(code(&output), expected, "{arguments:?} {settings:?}: {said}");
    for sentence in sentences {
        assert!(said.contains(sentence), "{arguments:?} {settings:?}: `{sentence}` is missing in: {said}");
    }
    assert_eq!(stdout(&output), "");
    assert!(!world.path("data").exists());
}

#[test]
fn a_role_apart_says_everything_that_it_lacks() {
    let Some(world) = World::new() else { return };
    let lacks =
        ["`serve task` needs a PostgreSQL database for task: set ERRAND_DATABASE_URL", "ERRAND_SECRET_KEY_FILE"];
    refused(&world, &["serve", "task"], &[], 78, &lacks);
    let lacks = ["database for auth", "database for chat", "`serve auth chat` needs a secret"];
    refused(&world, &["serve", "auth", "chat"], &[("ERRAND_TASK_DATABASE_URL", &world.url("task"))], 78, &lacks);
    refused(&world, &["serve", "task"], &[("ERRAND_DATABASE_URL", &world.url("task"))], 78, &["ERRAND_SECRET_KEY"]);
}

#[test]
fn settings_that_do_not_fit_together_are_refused_with_a_sentence() {
    let Some(world) = World::new() else { return };
    let secret = world.text("secret");
    let url = world.url("task");
    let none = world.text("none.pem");
    let role = world.role(&url, &secret);
    for (settings, sentence) in [
        (
            &[("ERRAND_DATABASE_URL", "mysql://ann:hunter2@db")][..],
            "ERRAND_DATABASE_URL: must be a URL such as postgres://",
        ),
        (&[("ERRAND_CHAT_DATABASE_DIRECT_URL", &url)], "is of use only beside ERRAND_CHAT_DATABASE_URL"),
        (&[("ERRAND_DATABASE_CONNECTIONS", "0")], "ERRAND_DATABASE_CONNECTIONS: `0` is not a whole number above zero"),
        (&[("ERRAND_WAIT_FOR_MIGRATIONS", "yes")], "ERRAND_WAIT_FOR_MIGRATIONS: `yes` is not a time"),
        (&[("ERRAND_AUTH_TARGET", "http://auth:1")], "ERRAND_AUTH_TARGET: `http://auth:1` is not host:port"),
        (&[("ERRAND_LISTEN", "unix:socket")], "or unix:/path"),
        (
            &[("ERRAND_LISTEN", "0.0.0.0:0")],
            "set ERRAND_TLS_CERT and ERRAND_TLS_KEY, or if that is meant, say --plaintext",
        ),
        (&[("ERRAND_TLS_CERT", &none)], "ERRAND_TLS_CERT: needs ERRAND_TLS_KEY, too"),
        (&[("ERRAND_TLS_KEY", &none)], "ERRAND_TLS_KEY: needs ERRAND_TLS_CERT, too"),
        (&[("ERRAND_TLS_CLIENT_CA", &none)], "ERRAND_TLS_CLIENT_CA: needs ERRAND_TLS_CERT"),
        (&[("ERRAND_PEER_TLS_CERT", &none), ("ERRAND_PEER_TLS_KEY", &none)], "ERRAND_PEER_TLS_CA says whom to trust"),
    ] {
        refused(&world, &["serve", "task"], &[&role, settings].concat(), 78, &[sentence]);
    }
    let output = world.run(&["config", "check"], &[("ERRAND_DATABASE_URL", "mysql://ann:hunter2@db")]);
    assert!(!stderr(&output).contains("hunter2"), "{}", stderr(&output));
}

#[test]
fn files_of_tls_that_can_not_be_read_are_named() {
    let Some(world) = World::migrated() else { return };
    let (secret, url, none) = (world.text("secret"), world.url("task"), world.text("none.pem"));
    let role = world.role(&url, &secret);
    let of_port = [("ERRAND_TLS_CERT", none.as_str()), ("ERRAND_TLS_KEY", &none)];
    refused(&world, &["serve", "task"], &[&role[..], &of_port].concat(), 78, &["TLS", &none, "can not be read"]);
    let of_peers = [("ERRAND_PEER_TLS_CA", none.as_str())];
    refused(&world, &["serve", "task"], &[&role[..], &of_peers].concat(), 78, &["TLS", &none, "can not be read"]);
}

#[test]
fn a_database_that_does_not_answer_is_waited_for_by_others_and_a_wrong_one_is_told() {
    let Some(world) = World::new() else { return };
    let secret = world.text("secret");
    let nobody = "postgres://errand_task@127.0.0.1:1/errand";
    refused(&world, &["serve", "task"], &world.role(nobody, &secret), 75, &["task", "can not be reached"]);
    let stranger = world.database().url("stranger");
    refused(&world, &["serve", "task"], &world.role(&stranger, &secret), 78, &["stranger"]);
    let elsewhere = world.database().named("elsewhere").url("errand_task");
    refused(&world, &["serve", "task"], &world.role(&elsewhere, &secret), 78, &["elsewhere"]);
}

#[test]
fn secrets_come_from_files_and_are_never_shown() {
    let Some(world) = World::migrated() else { return };
    let (secret, url) = (world.text("secret"), world.text("url"));
    fs::write(world.path("url"), format!("{}\n", world.url("task"))).unwrap();
    let settings = [("ERRAND_TASK_DATABASE_URL_FILE", url.as_str()), ("ERRAND_SECRET_KEY_FILE", &secret)];
    let task = Server::of(world.start(&["serve", "task"], &settings));
    assert_eq!(task.stop().0, Some(0));
    let printed = world.run(&["config", "print"], &settings);
    assert!(stdout(&printed).contains("task_url = \"***\"  # ERRAND_TASK_DATABASE_URL_FILE"), "{}", stdout(&printed));
    assert!(!stdout(&printed).contains("errand_task@"), "{}", stdout(&printed));
}

#[test]
fn all_in_one_runs_on_postgresql_and_leaves_no_data_folder() {
    let Some(world) = World::migrated() else { return };
    let urls = ["auth", "task", "chat"]
        .map(|service| (format!("ERRAND_{}_DATABASE_URL", service.to_uppercase()), world.url(service)));
    let mut settings: Vec<(&str, &str)> = urls.iter().map(|(name, url)| (name.as_str(), url.as_str())).collect();
    let secret = world.text("secret");
    settings.push(("ERRAND_SECRET_KEY_FILE", &secret));
    let server = Server::of(world.start(&[], &settings));
    let seeded = world.run(&["seed", "--url", &server.url], &[]);
    assert_eq!(code(&seeded), 0, "{}", stderr(&seeded));
    assert!(!world.path("data").exists());
    assert_eq!(world.database().run("SELECT count(*) FROM task.tasks"), "9");

    // Keys are looked after beside it.
    let listed = world.run(&["keys", "list"], &settings);
    assert_eq!((code(&listed), stdout(&listed).lines().count()), (0, 1), "{}", stderr(&listed));
    assert_eq!(code(&world.run(&["keys", "rotate"], &settings)), 0);
    assert_eq!(stdout(&world.run(&["keys", "list"], &settings)).lines().count(), 2);
    assert_eq!(server.stop().0, Some(0));
}

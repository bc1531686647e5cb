//! Migrations on PostgreSQL: who applies them, who waits for them, who refuses them.

use std::thread;

use crate::world::{Server, World, code, stderr, stdout};

#[test]
fn migrations_are_shown_applied_and_shown_again() {
    let Some(world) = World::new() else { return };
    let url = world.url("migrate");
    let migrate = |action: &str| world.run(&["migrate", action], &[("ERRAND_DATABASE_URL", &url)]);
    let status = migrate("status");
    assert_eq!(code(&status), 75);
    assert!(stdout(&status).contains("task  0001  missing"), "{}", stdout(&status));
    let plan = migrate("plan");
    assert_eq!(code(&plan), 0, "{}", stderr(&plan));
    assert!(stdout(&plan).contains("-- chat: 0001") && stdout(&plan).contains("CREATE TABLE task.tasks"));
    assert_eq!(code(&migrate("status")), 75, "a plan changes nothing");

    let up = migrate("up");
    assert_eq!(code(&up), 0, "{}", stderr(&up));
    for service in ["auth", "task", "chat"] {
        assert!(stdout(&up).contains(&format!("{service}: applied 0001")), "{}", stdout(&up));
    }
    assert_eq!(stdout(&migrate("up")), "every schema is up to date\n");
    assert_eq!(stdout(&migrate("plan")), "-- every schema is up to date\n");
    let status = migrate("status");
    assert_eq!(code(&status), 0);
    assert!(!stdout(&status).contains("missing"));
    assert!(!world.path("data").exists());
}

#[test]
fn r_109_two_migrations_at_once_apply_each_step_once() {
    let Some(world) = World::new() else { return };
    let url = world.url("migrate");
    let said: Vec<String> = thread::scope(|scope| {
        let run = || {
            let output = world.run(&["migrate"], &[("ERRAND_DATABASE_URL", &url)]);
            assert_eq!(code(&output), 0, "{}", stderr(&output));
            stdout(&output).to_owned()
        };
        let runs: Vec<_> = (0..4).map(|_| scope.spawn(run)).collect();
        runs.into_iter().map(|run| run.join().unwrap()).collect()
    });
    let mut applied: Vec<&str> =
        said.iter().flat_map(|text| text.lines()).filter(|line| line.contains("applied")).collect();
    let all = applied.len();
    applied.sort_unstable();
    applied.dedup();
    assert_eq!(applied.len(), all, "{said:?}");
    let kept = world.database().run("SELECT count(*) FROM task._migrations");
    assert_eq!(applied.iter().filter(|line| line.starts_with("task:")).count().to_string(), kept);
}

#[test]
fn a_role_without_its_schema_is_not_ready_or_waits_for_it() {
    let Some(world) = World::new() else { return };
    let (url, secret) = (world.url("task"), world.text("secret"));
    let role = world.role(&url, &secret);
    let output = world.run(&["serve", "task"], &role);
    assert_eq!(code(&output), 75);
    assert!(stderr(&output).contains("run `errand migrate`"), "{}", stderr(&output));
    let output = world.run(&["serve", "task", "--wait-for-migrations=10ms"], &role);
    assert_eq!(code(&output), 75, "{}", stderr(&output));

    let waiting = world.start(&["serve", "--wait-for-migrations", "task"], &role);
    world.migrate();
    assert_eq!(Server::of(waiting).stop().0, Some(0));
}

#[test]
fn a_signal_ends_a_role_that_waits() {
    let Some(world) = World::new() else { return };
    let (url, secret) = (world.url("task"), world.text("secret"));
    let mut waiting = world.start(&["serve", "--wait-for-migrations=1h", "task"], &world.role(&url, &secret));
    // It says so once it waits; then the handlers are in place.
    let log = std::io::BufReader::new(waiting.stderr.take().unwrap());
    let line = std::io::BufRead::lines(log).map(Result::unwrap).find(|line| line.contains("waiting for the database"));
    assert!(line.is_some());
    let killed = std::process::Command::new("kill").arg(waiting.id().to_string()).status().unwrap();
    assert!(killed.success());
    assert_eq!(waiting.wait().unwrap().code(), Some(0));
}

#[test]
fn an_older_program_refuses_a_newer_schema() {
    let Some(world) = World::migrated() else { return };
    world.database().run("INSERT INTO task._migrations (version, name, checksum) VALUES (9999, 'later', '\\x00')");
    let (url, secret) = (world.url("task"), world.text("secret"));
    for arguments in [&["serve", "task"][..], &["serve", "task", "--wait-for-migrations"]] {
        let output = world.run(arguments, &world.role(&url, &secret));
        assert_eq!(code(&output), 78);
        assert!(stderr(&output).contains("schema version 9999"), "{}", stderr(&output));
    }
    let output = world.run(&["migrate"], &[("ERRAND_DATABASE_URL", &world.url("migrate"))]);
    assert_eq!(code(&output), 78);
    assert!(stderr(&output).contains("run a newer one"), "{}", stderr(&output));
}

/// Makes the nth statement that defines something wait for ever, whoever runs it; later ones do not.
fn halt_at(world: &World, nth: u32) {
    world.database().run(&format!(
        "CREATE SEQUENCE public.defined;
         CREATE FUNCTION public.halt() RETURNS event_trigger LANGUAGE plpgsql SECURITY DEFINER AS $$
         BEGIN
             IF nextval('public.defined') = {nth} THEN PERFORM pg_sleep(3600); END IF;
         END $$;
         GRANT USAGE ON SCHEMA public TO errand_migrate;
         CREATE EVENT TRIGGER halt ON ddl_command_end EXECUTE FUNCTION public.halt();"
    ));
}

#[test]
fn r_109_killed_in_the_middle_of_a_step_the_next_run_completes() {
    #[expect(clippy::disallowed_methods, reason = "the size of the run")]
    let every = if std::env::var("ERRAND_BATTERY").is_ok_and(|size| size == "full") { 1 } else { 30 };
    let halted = "FROM pg_stat_activity WHERE datname = current_database() AND wait_event = 'PgSleep'";
    for nth in (2..).step_by(every) {
        let Some(world) = World::new() else { return };
        halt_at(&world, nth);
        let url = world.url("migrate");
        let mut run = world.start(&["migrate"], &[("ERRAND_DATABASE_URL", &url)]);
        let ended = loop {
            if let Some(status) = run.try_wait().unwrap() {
                break Some(status);
            }
            if world.database().run(&format!("SELECT count(*) {halted}")) == "1" {
                break None;
            }
        };
        if let Some(status) = ended {
            assert!(status.success() && nth > 2, "there were {nth} statements at most");
            return;
        }
        run.kill().unwrap();
        run.wait().unwrap();
        // The server finds out that nobody waits any more when the statement ends.
        world.database().run(&format!("SELECT pg_terminate_backend(pid) {halted}"));
        world.migrate();
        let status = world.run(&["migrate", "status"], &[("ERRAND_DATABASE_URL", &url)]);
        assert_eq!(code(&status), 0, "{}", stdout(&status));
    }
}

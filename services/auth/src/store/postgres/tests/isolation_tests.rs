//! What stands between one user and another, and between this service and the others.

use super::*;

#[tokio::test]
async fn r_040_without_an_owner_no_row_is_seen_and_with_one_only_that_owners() {
    let Some((database, store)) = fresh().await else { return };
    signed_up(&store).await;
    let request = errand_changelog::Request::new("one", "m", b"body");
    let account = store.account(user(1), None).await.unwrap().account.unwrap();
    let origin = Origin { request: Some(request), ..conformance::origin() };
    store.update(user(1), account, origin, NOW).await.unwrap();
    for table in SCHEMA.tables.iter().filter(|table| !SCHEMA.exempt.contains(table)) {
        let count = |owner: &str| {
            let owner = format!("SELECT set_config('errand.owner', '{owner}', true) IS NULL");
            let count = format!("SELECT count(*) FROM auth.{table}");
            database.run(&format!("SET ROLE errand_auth; {owner}; {count}")).lines().last().unwrap().to_owned()
        };
        assert_ne!(database.run(&format!("SELECT count(*) FROM auth.{table}")), "0", "{table}");
        assert_eq!(database.run(&format!("SET ROLE errand_auth; SELECT count(*) FROM auth.{table}")), "0", "{table}");
        assert_eq!(count(""), "0", "{table}");
        assert_eq!(count(&user(2).to_string()), "0", "{table}");
        assert_ne!(count(&user(1).to_string()), "0", "{table}");
    }
}

#[tokio::test]
async fn r_040_an_owner_can_not_write_what_is_anothers() {
    let Some((database, store)) = fresh().await else { return };
    signed_up(&store).await;
    let (ada, bob) = (user(1), user(2));
    let as_bob = format!("SET ROLE errand_auth; SELECT set_config('errand.owner', '{bob}', false) IS NULL");
    for sql in [
        "UPDATE auth.users SET email = 'stolen'",
        "DELETE FROM auth.sessions",
        "DELETE FROM auth.changes",
        "DELETE FROM auth.users",
    ] {
        database.run(&format!("{as_bob}; {sql}"));
    }
    let seen = database
        .run("SELECT email, (SELECT count(*) FROM auth.sessions), (SELECT count(*) FROM auth.changes) FROM auth.users");
    assert_eq!(seen, "ada@example.com|1|2");
    // A row for somebody else is refused by the policy.
    let insert = format!(
        "INSERT INTO auth.changes (owner, seq, time, actor, kind) VALUES ('{ada}', 99, now(), 'user', 'forged')"
    );
    let refused = format!(
        "{as_bob}; DO $$ BEGIN {insert}; RAISE 'it was let in'; EXCEPTION WHEN insufficient_privilege THEN NULL; END $$"
    );
    database.run(&refused);
}

#[tokio::test]
async fn r_040_every_table_has_a_policy_that_holds_for_its_owner_too_or_is_listed() {
    let Some((database, _store)) = fresh().await else { return };
    let open = database.run(
        "SELECT relname FROM pg_class WHERE relnamespace = 'auth'::regnamespace AND relkind IN ('r', 'p')
         AND NOT (relrowsecurity AND relforcerowsecurity) ORDER BY relname",
    );
    let mut exempt: Vec<_> = SCHEMA.exempt.iter().copied().chain(["_migrations"]).collect();
    exempt.sort_unstable();
    assert_eq!(open.lines().collect::<Vec<_>>(), exempt);
    let all = database.run(
        "SELECT relname FROM pg_class WHERE relnamespace = 'auth'::regnamespace AND relkind IN ('r', 'p')
         AND relname <> '_migrations' ORDER BY relname",
    );
    let mut tables = SCHEMA.tables.to_vec();
    tables.sort_unstable();
    assert_eq!(all.lines().collect::<Vec<_>>(), tables, "every table is listed for a copy");
    let definers = database.run("SELECT count(*) FROM pg_proc WHERE pronamespace = 'auth'::regnamespace AND prosecdef");
    assert_eq!(definers, "0", "functions have the rights of who calls them");
}

#[tokio::test]
async fn r_040_another_services_role_is_not_let_in() {
    let Some((database, _store)) = fresh().await else { return };
    for role in ["errand_task", "errand_chat"] {
        assert_eq!(database.run(&format!("SELECT has_schema_privilege('{role}', 'auth', 'USAGE')")), "f", "{role}");
        for table in SCHEMA.tables.iter().chain(&["_migrations"]) {
            database.run(&format!(
                "SET ROLE {role}; DO $$ BEGIN PERFORM FROM auth.{table}; RAISE 'it was let in';
                 EXCEPTION WHEN insufficient_privilege THEN NULL; END $$"
            ));
        }
        database.run(&format!(
            "SET ROLE {role}; DO $$ BEGIN PERFORM auth.enter_v1('{}'); RAISE 'it was let in';
             EXCEPTION WHEN insufficient_privilege THEN NULL; END $$",
            user(1)
        ));
    }
    database.run(
        "SET ROLE errand_auth; DO $$ BEGIN DELETE FROM auth._migrations; RAISE 'it was let in';
         EXCEPTION WHEN insufficient_privilege THEN NULL; END $$",
    );
}

//! Battery 2.3 in the database itself: two walls around every user, and one around every service.

use crate::sandbox::Sandbox;

const SERVICES: [&str; 3] = ["auth", "task", "chat"];

#[tokio::test]
async fn r_040_no_role_reaches_the_schema_of_another_and_without_a_user_it_sees_nothing_of_its_own() {
    let sandbox = Sandbox::start();
    let ann = sandbox.sign_up().await;
    ann.create("secret").await;
    ann.say("", "add another secret").await;
    for service in SERVICES {
        for other in SERVICES.into_iter().filter(|other| *other != service) {
            let may = format!("SELECT has_schema_privilege('errand_{service}', '{other}', 'USAGE')");
            assert_eq!(sandbox.ground.run(&may), "f", "{service} in {other}");
        }
        let guarded = format!(
            "SELECT relname FROM pg_class JOIN pg_namespace ON pg_namespace.oid = relnamespace \
             WHERE nspname = '{service}' AND relkind = 'r' AND relrowsecurity AND relforcerowsecurity"
        );
        let mut rows = 0;
        for table in sandbox.stored(service, &guarded).await {
            let count = format!("SELECT count(*) FROM {service}.{table}");
            rows += sandbox.ground.run(&count).parse::<usize>().unwrap();
            let seen = sandbox.ground.run(&format!("SET ROLE errand_{service}; {count}"));
            assert_eq!(seen, "0", "{service}.{table} without a user");
            let seen = sandbox.ground.run(&format!(
                "SET ROLE errand_{service}; SET errand.owner = '01890000-0000-7000-8000-000000000001'; {count}"
            ));
            assert_eq!(seen, "0", "{service}.{table} for somebody else");
        }
        assert!(rows > 0, "{service} has something to hide");
    }
}

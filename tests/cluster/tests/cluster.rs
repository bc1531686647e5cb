//! The cluster does what tests rely on.

use errand_cluster::Cluster;

#[test]
fn databases_are_apart_and_have_the_roles() {
    let Some(cluster) = Cluster::shared() else { return };
    let (one, other) = (cluster.database(), cluster.database());
    one.run("CREATE TABLE public.things (id int)");
    assert_eq!(other.run("SELECT to_regclass('public.things') IS NULL"), "t");
    let rights = "SELECT string_agg(rolname || rolsuper || rolbypassrls || rolcanlogin, ' ' ORDER BY rolname)
                  FROM pg_roles WHERE rolname LIKE 'errand%'";
    assert_eq!(
        other.run(rights),
        "errand_authfalsefalsetrue errand_chatfalsefalsetrue errand_migratefalsefalsetrue errand_taskfalsefalsetrue"
    );
}

#[test]
fn what_was_committed_is_there_after_a_kill() {
    let Some(cluster) = Cluster::start() else { return };
    let database = cluster.database();
    database.run("CREATE TABLE public.things (id int)");
    for id in 0..3 {
        database.run(&format!("INSERT INTO public.things VALUES ({id})"));
        if id == 1 {
            cluster.stop_immediate();
        } else {
            cluster.kill9();
        }
        cluster.restart();
    }
    assert_eq!(database.run("SELECT count(*) FROM public.things"), "3");
    cluster.pause();
    cluster.resume();
    assert_eq!(database.run("SELECT count(*) FROM public.things"), "3");
    let folder = cluster.folder().to_owned();
    drop(cluster);
    assert!(!folder.exists());
}

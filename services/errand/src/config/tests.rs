//! Configuration from a faked environment.

use std::{collections::HashMap, ffi::OsString, io, path::Path};

use super::{source::Origin as From, *};

#[derive(Default)]
struct Fake {
    variables: Vec<(OsString, OsString)>,
    files: HashMap<&'static str, &'static str>,
}

impl Fake {
    fn with(mut self, name: &str, value: &str) -> Self {
        self.variables.push((name.into(), value.into()));
        self
    }

    fn file(mut self, path: &'static str, text: &'static str) -> Self {
        self.files.insert(path, text);
        self
    }

    fn load(&self, flags: &[(&'static str, &str)]) -> Result<Config, Vec<String>> {
        Config::load(self, flags.iter().map(|(name, value)| (*name, (*value).to_owned())).collect())
    }

    fn faults(&self) -> Vec<String> {
        self.load(&[]).expect_err("should be refused")
    }
}

impl Environment for Fake {
    fn variables(&self) -> Vec<(OsString, OsString)> {
        self.variables.clone()
    }

    fn read(&self, path: &Path) -> io::Result<String> {
        let text = path.to_str().and_then(|path| self.files.get(path));
        text.map(|text| (*text).to_owned()).ok_or_else(|| io::ErrorKind::NotFound.into())
    }
}

fn home() -> Fake {
    Fake::default().with("HOME", "/home/ann")
}

fn port(config: &Config) -> u16 {
    match config.server.listen() {
        Address::Tcp(address) => address.port(),
        Address::Unix(path) => panic!("{}", path.display()),
    }
}

fn origin(config: &Config, key: &str) -> From {
    config.effective.iter().find(|effective| effective.key.1 == key).unwrap().origin.clone()
}

#[test]
fn nothing_given_is_the_laptop_shape() {
    let config = home().load(&[]).unwrap();
    assert_eq!(config.server.listen(), "127.0.0.1:8080".parse().unwrap());
    assert_eq!(config.server.drain_deadline, Duration::from_secs(10));
    assert_eq!(config.data.dir, PathBuf::from("/home/ann/.local/share/errand"));
    assert!(config.data.secret_key.is_none());
    let origins: Vec<_> = config.server.allowed_origins.into_iter().map(|origin| origin.value).collect();
    assert_eq!(origins, AllowedOrigin::this_machine());
    assert!(config.effective.iter().all(|effective| effective.origin == From::Default));
    let config = home().with("XDG_DATA_HOME", "/data").load(&[]).unwrap();
    assert_eq!(config.data.dir, PathBuf::from("/data/errand"));
}

#[test]
fn a_flag_beats_a_variable_beats_the_file_beats_the_default() {
    let file = "[server]\nlisten = '127.0.0.1:1'\ndrain_deadline = '1s'\n[limits]\nmax_streams = 7\n";
    let fake = home().file("/e.toml", file).with("ERRAND_CONFIG", "/e.toml").with("ERRAND_LISTEN", "127.0.0.1:2");
    let config = fake.load(&[("ERRAND_LISTEN", "127.0.0.1:3")]).unwrap();
    assert_eq!((port(&config), origin(&config, "listen")), (3, From::Flag));
    let config = fake.load(&[]).unwrap();
    assert_eq!((port(&config), origin(&config, "listen")), (2, From::Variable("ERRAND_LISTEN".into())));
    assert_eq!(config.server.drain_deadline, Duration::from_secs(1));
    assert_eq!((config.limits.max_streams, origin(&config, "max_streams")), (Some(7), From::File("/e.toml".into())));
    assert_eq!(origin(&config, "reflection"), From::Default);
}

#[test]
fn every_fault_is_reported_with_its_place() {
    let file = "[server]\nlisten = 'here'\nlisen = 1\n[lmits]\nmax_streams = 1\n";
    let fake = home()
        .file("/e.toml", file)
        .with("ERRAND_CONFIG", "/e.toml")
        .with("ERRAND_REFLECTON", "true")
        .with("ERRAND_DRAIN_DEADLINE", "soon")
        .with("OTHER", "x");
    assert_eq!(
        fake.faults(),
        [
            "/e.toml: server.listen: `here` is not an address and port such as 127.0.0.1:8080, or unix:/path",
            "ERRAND_DRAIN_DEADLINE: `soon` is not a time of at most an hour such as 10s or 500ms",
            "ERRAND_REFLECTON: there is no such variable; did you mean ERRAND_REFLECTION?",
            "/e.toml: there is no section [lmits]; did you mean limits?",
            "/e.toml: there is no setting server.lisen; did you mean listen?",
        ]
    );
    let faults = home().load(&[("ERRAND_MAX_STREAMS", "0")]).unwrap_err();
    assert_eq!(faults, ["--max-streams: `0` is not a whole number above zero"]);
}

#[test]
fn a_file_that_is_missing_or_no_toml_is_a_fault() {
    let fake = home().with("ERRAND_CONFIG", "/none.toml");
    assert!(fake.faults()[0].starts_with("/none.toml: "));
    let fake = home().with("ERRAND_CONFIG", "/e.toml").file("/e.toml", "server = [");
    assert!(fake.faults()[0].starts_with("/e.toml: TOML parse error"));
    let fake = home().with("ERRAND_CONFIG", "/e.toml").file("/e.toml", "server = 1");
    assert_eq!(fake.faults(), ["/e.toml: server is a section: write [server] above its settings"]);
}

#[test]
fn a_value_that_is_not_utf8_is_a_fault_only_when_it_is_ours() {
    use std::os::unix::ffi::OsStringExt;
    let bytes = OsString::from_vec(vec![0xff]);
    let mut fake = home();
    fake.variables.push(("ERRAND_LISTEN".into(), bytes.clone()));
    fake.variables.push(("LS_COLORS".into(), bytes));
    assert_eq!(fake.faults(), ["ERRAND_LISTEN: the value is not UTF-8"]);
}

#[test]
fn beyond_this_machine_plaintext_must_be_said_out_loud() {
    let fake = home().with("ERRAND_LISTEN", "0.0.0.0:8080");
    assert!(fake.faults()[0].contains("--plaintext"));
    assert_eq!(fake.load(&[("ERRAND_PLAINTEXT", "true")]).unwrap().local_url(), "http://127.0.0.1:8080");
    assert!(home().with("ERRAND_LISTEN", "[::1]:8080").load(&[]).is_ok());
}

const SECRET: &str = "0123456789abcdef0123456789abcdef";

#[test]
fn a_secret_comes_from_a_variable_or_a_file_but_not_both() {
    let expose = |fake: &Fake| fake.load(&[]).unwrap().data.secret_key.unwrap().expose_secret().to_owned();
    assert_eq!(expose(&home().with("ERRAND_SECRET_KEY", SECRET)), SECRET);
    let from_file =
        home().with("ERRAND_SECRET_KEY_FILE", "/run/key").file("/run/key", "0123456789abcdef0123456789abcdef\n");
    assert_eq!(expose(&from_file), SECRET);
    let both = from_file.with("ERRAND_SECRET_KEY", SECRET);
    assert_eq!(both.faults(), ["ERRAND_SECRET_KEY: give the secret or the file that holds it, not both"]);
}

#[test]
fn a_secret_is_never_shown() {
    let config = home().with("ERRAND_SECRET_KEY", SECRET).load(&[]).unwrap();
    assert!(!format!("{config:?}").contains(SECRET));
    let faults = home().with("ERRAND_SECRET_KEY", "too short").faults();
    assert_eq!(faults, ["ERRAND_SECRET_KEY: a secret needs at least 32 bytes"]);
}

#[test]
fn without_a_home_there_is_no_data_folder_until_it_is_named() {
    assert_eq!(Fake::default().load(&[]).unwrap().data.dir, PathBuf::new());
    let named = Fake::default().with("ERRAND_DATA_DIR", "/data").load(&[]).unwrap();
    assert_eq!(named.data.dir, PathBuf::from("/data"));
}

const URL: &str = "postgres://ann:hunter2@db/errand";

#[test]
fn a_service_has_the_general_database_or_its_own_with_its_own_way_past_the_pooler() {
    let urls = |config: &Config, service| {
        let settings = config.database.of(service)?;
        let direct = settings.direct_url.map(|url| url.expose_secret().to_owned());
        Some((settings.url.expose_secret().to_owned(), direct))
    };
    assert_eq!(urls(&home().load(&[]).unwrap(), Role::Task), None);
    let config = home()
        .with("ERRAND_DATABASE_URL", URL)
        .with("ERRAND_DATABASE_DIRECT_URL", "postgres://direct/errand")
        .with("ERRAND_TASK_DATABASE_URL", "postgresql://task/errand")
        .with("ERRAND_DATABASE_POOLER", "true")
        .with("ERRAND_DATABASE_CONNECTIONS", "7")
        .load(&[])
        .unwrap();
    assert_eq!(urls(&config, Role::Auth), Some((URL.to_owned(), Some("postgres://direct/errand".to_owned()))));
    assert_eq!(urls(&config, Role::Task), Some(("postgresql://task/errand".to_owned(), None)));
    assert!(config.database.of(Role::Chat).is_some_and(|chat| chat.pooler && chat.connections == 7));
    assert!(!format!("{config:?}").contains("hunter2"));
    let faults = home().with("ERRAND_DATABASE_URL", "ann:hunter2@db").faults();
    assert!(faults[0].starts_with("ERRAND_DATABASE_URL: must be a URL") && !faults[0].contains("hunter2"));
}

#[test]
fn what_is_missing_depends_on_what_is_served() {
    let bare = home().load(&[]).unwrap();
    assert!(bare.missing_for(&Role::ALL).is_empty() && bare.missing_for(&[Role::Gateway]).is_empty());
    assert_eq!(bare.missing_for(&[Role::Auth, Role::Task]).len(), 3);
    assert_eq!(bare.missing_for(&[Role::Task, Role::Gateway]).len(), 2);
    let told = home().with("ERRAND_DATABASE_URL", URL).with("ERRAND_SECRET_KEY", SECRET).load(&[]).unwrap();
    assert!(told.missing_for(&[Role::Auth, Role::Task, Role::Chat]).is_empty());
}

#[test]
fn each_role_has_a_port_of_its_own_and_a_listener_of_its_kind() {
    let bare = home().load(&[]).unwrap();
    let listen = |roles: &[Role]| bare.server.listen_as(roles).to_string();
    assert_eq!(listen(&[Role::Task]), "127.0.0.1:50052");
    assert_eq!(listen(&[Role::Auth, Role::Chat]), "127.0.0.1:50051");
    assert_eq!(listen(&[Role::Auth, Role::Gateway]), "127.0.0.1:8080");
    assert_eq!(bare.peers.target(Role::Chat).map(ToString::to_string).as_deref(), Some("127.0.0.1:50053"));
    let limits = |config: &Config, role| {
        let limits = config.limits.connections(&[role], &config.server);
        (limits.streams, limits.connection_age.unwrap().as_secs(), limits.of_an_address)
    };
    let (gateway, task) = (limits(&bare, Role::Gateway), limits(&bare, Role::Task));
    assert_eq!((gateway, task), ((100, 5 * 60, Some(1000)), (10_000, 30 * 60, None)));
    let told = home().with("ERRAND_CONNECTION_AGE", "5s").with("ERRAND_MAX_STREAMS", "7");
    let told = told.with("ERRAND_MAX_CONNECTIONS_PER_ADDRESS", "9").load(&[]).unwrap();
    assert_eq!((limits(&told, Role::Gateway), limits(&told, Role::Task)), ((7, 5, Some(9)), (7, 5, None)));
}

#[test]
fn with_tls_a_port_may_be_reached_by_others() {
    let fake = home().with("ERRAND_LISTEN", "0.0.0.0:8443").with("ERRAND_TLS_CERT", "/c").with("ERRAND_TLS_KEY", "/k");
    assert_eq!(fake.load(&[]).unwrap().local_url(), "https://127.0.0.1:8443");
    let socket = home().with("ERRAND_LISTEN", "unix:/run/errand").load(&[]).unwrap();
    assert_eq!(socket.local_url(), "unix:/run/errand");
    assert_eq!(home().with("ERRAND_TLS_KEY", "/k").faults(), ["ERRAND_TLS_KEY: needs ERRAND_TLS_CERT, too"]);
}

#[test]
fn rates_are_changed_class_by_class_and_shown_whole() {
    let fake = home().with("ERRAND_USER_RATES", "read=5/m:10, write=off").with("ERRAND_ADDRESS_RATES", "off");
    let config = fake.load(&[("ERRAND_REPLICAS", "3")]).unwrap();
    let rates = config.edge().rates;
    let shown = "read=5/m:10, write=off, credential=2/s:50, assistant=10/s:200";
    assert_eq!((rates.user.to_string().as_str(), rates.replicas), (shown, 3));
    assert_eq!(rates.address, errand_gateway::Quotas::none());
    let effective = config.effective.iter().find(|effective| effective.key.1 == "user_rates").unwrap();
    assert_eq!(effective.value, Some(shown.into()));
    assert_eq!(home().load(&[]).unwrap().edge().rates, errand_gateway::Rates::default());
    for wrong in ["reads=5/s", "read=5", "read=0/s", "5/s"] {
        let faults = home().with("ERRAND_USER_RATES", wrong).faults();
        assert!(faults[0].starts_with(&format!("ERRAND_USER_RATES: `{wrong}` is not off, or limits")), "{faults:?}");
    }
    assert_eq!(home().with("ERRAND_REPLICAS", "0").faults().len(), 1);
}

#[test]
fn without_a_home_there_is_no_data_folder_to_show() {
    let config = Fake::default().load(&[]).unwrap();
    let shown = |config: &Config| {
        config.effective.iter().find(|effective| effective.key == ("data", "dir")).unwrap().value.clone()
    };
    assert_eq!(shown(&config), None, "an empty one could not be read again");
    assert!(shown(&home().load(&[]).unwrap()).is_some());
}

#[test]
fn a_language_model_is_told_how_long_its_answers_may_be_and_who_makes_titles() {
    let with = |name: &str, value: &str| {
        home().with("ERRAND_LLM_BASE_URL", "http://127.0.0.1:1/v1").with("ERRAND_LLM_MODEL", "m").with(name, value)
    };
    let model = |fake: Fake| fake.load(&[]).unwrap().llm.model.unwrap();
    let usual = model(with("ERRAND_LLM_MODE", "auto"));
    assert_eq!((usual.answer_tokens, usual.titles), (4096, true));
    assert_eq!(model(with("ERRAND_LLM_ANSWER_TOKENS", "256")).answer_tokens, 256);
    assert!(!model(with("ERRAND_LLM_TITLES", "rule")).titles);
    assert_eq!(with("ERRAND_LLM_ANSWER_TOKENS", "255").faults(), ["ERRAND_LLM_ANSWER_TOKENS: must be 256 at least"]);
    assert_eq!(with("ERRAND_LLM_TITLES", "none").faults(), ["ERRAND_LLM_TITLES: `none` is not model or rule"]);
}

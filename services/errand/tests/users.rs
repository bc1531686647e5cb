//! `errand users` of the real binary, beside a running server, on both engines.
#![expect(clippy::unwrap_used, reason = "tests may be blunt")]

use std::{
    fs,
    io::{BufRead, BufReader},
    process::{Child, Command, Output, Stdio},
};

use errand_cluster::{Cluster, Database};
use errand_proto::{
    auth::{
        LogInRequest, RefreshTokenRequest, SignUpRequest, SignUpResponse, User, auth_service_client::AuthServiceClient,
    },
    status,
};
use tempfile::TempDir;
use tonic::{
    Code, Response, Status,
    transport::{Channel, Endpoint},
};

const PASSWORD: &str = "correct horse battery";
/// Of that password, made by the system's own library.
const BCRYPT: &str = "$2b$04$abcdefghijklmnopqrstuuqREtd3VJD2QVZbuFskFSLk6eRIrQoOS";
const BCRYPT_2Y: &str = "$2y$05$abcdefghijklmnopqrstuuD3mHdCr44zlIZ.VZCaYRpfQhXMYnEo.";
/// From the tests of the reference implementation, of `password`.
const ARGON2ID: &str = "$argon2id$v=19$m=65536,t=2,p=1$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc";

/// A place of its own, and a server on it.
struct Place {
    folder: TempDir,
    database: Option<Database>,
    server: Option<Child>,
    url: String,
}

type Client = AuthServiceClient<Channel>;

impl Place {
    fn new(database: Option<Database>) -> Self {
        Self { folder: tempfile::tempdir().unwrap(), database, server: None, url: String::new() }
    }

    /// A file always; PostgreSQL where it is installed.
    fn each() -> Vec<Self> {
        let server = Cluster::shared().map(|cluster| Self::new(Some(cluster.database())));
        [Some(Self::new(None)), server].into_iter().flatten().collect()
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_errand"));
        command.env_clear().env("ERRAND_DATA_DIR", self.folder.path().join("data"));
        command.env("ERRAND_LISTEN", "127.0.0.1:0");
        if let Some(database) = &self.database {
            if arguments == ["migrate"] {
                command.env("ERRAND_DATABASE_URL", database.url("errand_migrate"));
            } else {
                for service in ["auth", "task", "chat"] {
                    let name = format!("ERRAND_{}_DATABASE_URL", service.to_uppercase());
                    command.env(name, database.url(&format!("errand_{service}")));
                }
            }
        }
        command.args(arguments).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    fn run(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().unwrap()
    }

    /// What a command that succeeds writes to stdout.
    fn ask(&self, arguments: &[&str]) -> String {
        let output = self.run(arguments);
        assert!(output.status.success(), "{arguments:?}: {}", stderr(&output));
        String::from_utf8(output.stdout).unwrap()
    }

    fn import(&self, text: &str) -> Output {
        let file = self.folder.path().join("accounts.jsonl");
        fs::write(&file, text).unwrap();
        self.run(&["users", "import", file.to_str().unwrap()])
    }

    fn serve(&mut self) {
        if self.database.is_some() {
            self.ask(&["migrate"]);
        }
        let mut server = self.command(&["serve"]).stderr(Stdio::null()).spawn().unwrap();
        let mut lines = BufReader::new(server.stdout.take().unwrap()).lines();
        let url = lines.find_map(|line| line.unwrap().strip_prefix("listening on ").map(str::to_owned));
        self.server = Some(server);
        self.url = url.unwrap();
    }

    async fn client(&self) -> Client {
        AuthServiceClient::new(Endpoint::from_shared(self.url.clone()).unwrap().connect().await.unwrap())
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if let Some(server) = &mut self.server {
            _ = server.kill();
            _ = server.wait();
        }
    }
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

async fn sign_up(client: &mut Client, email: &str) -> SignUpResponse {
    let request = SignUpRequest { email: email.into(), password: PASSWORD.into(), ..Default::default() };
    client.sign_up(request).await.unwrap().into_inner()
}

async fn log_in(client: &mut Client, email: &str, password: &str) -> Result<User, Status> {
    let request = LogInRequest { email: email.into(), password: password.into() };
    client.log_in(request).await.map(|answer| answer.into_inner().user.unwrap())
}

async fn refresh(client: &mut Client, token: &str) -> Result<(), Status> {
    client.refresh_token(RefreshTokenRequest { refresh_token: token.into() }).await.map(Response::into_inner).map(drop)
}

fn reason<T: std::fmt::Debug>(answer: Result<T, Status>) -> (Code, String) {
    let status = answer.unwrap_err();
    (status.code(), status::reason(&status).unwrap())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_operator_looks_after_accounts_beside_a_running_server() {
    for mut place in Place::each() {
        place.serve();
        let mut client = place.client().await;
        let ada = sign_up(&mut client, "Ada@example.com").await;
        let bob = sign_up(&mut client, "bob@example.com").await;
        let (ada, token) = (ada.user.unwrap(), ada.credentials.unwrap().refresh_token);

        let list = place.ask(&["users", "list"]);
        let lines: Vec<_> = list.lines().collect();
        assert_eq!(lines.len(), 2);
        assert!(lines[0].starts_with(&format!("{}  enabled   20", ada.id)), "{list}");
        assert!(lines[0].ends_with("  Ada@example.com") && lines[1].ends_with("  bob@example.com"), "{list}");
        assert!(!list.contains("argon2id"), "{list}");

        let said = place.ask(&["users", "disable", "ada@example.com"]);
        assert!(said.contains("15 minutes"), "{said}");
        let disabled = (Code::PermissionDenied, "ACCOUNT_DISABLED".to_owned());
        assert_eq!(reason(log_in(&mut client, "ada@example.com", PASSWORD).await), disabled);
        assert_eq!(reason(refresh(&mut client, &token).await), disabled);
        let wrong = (Code::Unauthenticated, "CREDENTIALS_INVALID".to_owned());
        assert_eq!(reason(log_in(&mut client, "ada@example.com", "a wrong password").await), wrong);
        assert!(place.ask(&["users", "list"]).contains("  disabled  "));
        assert_eq!(place.ask(&["users", "disable", &ada.id]), "it is disabled already\n");
        place.ask(&["users", "enable", &ada.id]);
        assert!(log_in(&mut client, "ada@example.com", PASSWORD).await.is_ok());
        assert_eq!(reason(refresh(&mut client, &token).await).1, "REFRESH_TOKEN_INVALID");

        let password = place.ask(&["users", "reset-password", "bob@example.com"]);
        assert_eq!(password.lines().count(), 1);
        assert_eq!(reason(log_in(&mut client, "bob@example.com", PASSWORD).await), wrong);
        assert!(log_in(&mut client, "bob@example.com", password.trim_end()).await.is_ok());
        let token = bob.credentials.unwrap().refresh_token;
        assert_eq!(reason(refresh(&mut client, &token).await).1, "REFRESH_TOKEN_INVALID");

        for action in ["disable", "enable", "reset-password"] {
            let output = place.run(&["users", action, "nobody@example.com"]);
            assert_eq!((output.status.code(), output.stdout.as_slice()), (Some(1), &b""[..]));
            assert!(stderr(&output).contains("no account"), "{}", stderr(&output));
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn accounts_from_elsewhere_are_imported_line_by_line_as_often_as_one_likes() {
    for mut place in Place::each() {
        place.serve();
        let mut client = place.client().await;
        sign_up(&mut client, "there@example.com").await;
        let digest = "a".repeat(53);
        let text = [
            format!(r#"{{"email":"Ada@example.com","password_hash":"{BCRYPT}","display_name":"Ada","create_time":"2020-01-01T00:00:00Z"}}"#),
            format!(r#"{{"email":"bob@example.com","password_hash":"{BCRYPT_2Y}","time_zone":"Europe/Berlin"}}"#),
            String::new(),
            format!(r#"{{"email":"eve@example.com","password_hash":"{ARGON2ID}"}}"#),
            format!(r#"{{"email":"ada@EXAMPLE.com","password_hash":"{BCRYPT}"}}"#),
            format!(r#"{{"email":"there@example.com","password_hash":"{BCRYPT}"}}"#),
            format!(r#"{{"email":"dear@example.com","password_hash":"$2b$31${digest}"}}"#),
            r#"{"email":"plain@example.com","password_hash":"a secret"}"#.to_owned(),
            format!(r#"{{"email":"nowhere","password_hash":"{BCRYPT}","time_zone":"Mars/Base"}}"#),
            "no json".to_owned(),
        ]
        .join("\n");
        let first = place.import(&text);
        assert_eq!(first.status.code(), Some(1));
        assert_eq!(String::from_utf8_lossy(&first.stdout), "imported 3, there already 2, refused 4\n");
        let said = stderr(&first);
        let lines: Vec<_> = said.lines().collect();
        for (line, expected) in [
            "errand: line 7: password_hash costs too much",
            "errand: line 8: password_hash must be a hash",
            "errand: line 9: email must be",
            "errand: line 10: line must be a JSON object",
            "errand: 4 lines were refused; the others are in",
        ]
        .iter()
        .enumerate()
        {
            assert!(lines[line].starts_with(expected), "{said}");
        }
        assert!(lines[2].contains("; time_zone must be"), "{said}");
        for word in ["a secret", "nowhere", "Mars", &digest] {
            assert!(!said.contains(word), "{said}");
        }

        for (email, password) in
            [("ada@example.com", PASSWORD), ("bob@example.com", PASSWORD), ("eve@example.com", "password")]
        {
            assert_eq!(reason(log_in(&mut client, email, "a wrong password").await).1, "CREDENTIALS_INVALID");
            for _ in 0..2 {
                log_in(&mut client, email, password).await.unwrap();
            }
        }
        let ada = log_in(&mut client, "ada@example.com", PASSWORD).await.unwrap();
        assert_eq!((ada.email.as_str(), ada.display_name.as_str()), ("Ada@example.com", "Ada"));
        assert_eq!(ada.create_time.unwrap().seconds, 1_577_836_800);
        assert_eq!(log_in(&mut client, "bob@example.com", PASSWORD).await.unwrap().time_zone, "Europe/Berlin");

        let again = place.import(&text);
        assert_eq!(String::from_utf8_lossy(&again.stdout), "imported 0, there already 5, refused 4\n");
        let good: String = text.lines().take(6).map(|line| format!("{line}\r\n")).collect();
        let good = place.import(&good);
        assert_eq!(good.status.code(), Some(0), "{}", stderr(&good));
    }
}

#[test]
fn without_data_there_is_nobody_to_look_after() {
    for place in Place::each() {
        let output = place.run(&["users", "list"]);
        assert_eq!(output.status.code(), Some(75), "{}", stderr(&output));
    }
}

#[test]
fn a_file_that_is_not_there_is_a_failure() {
    for mut place in Place::each() {
        place.serve();
        let output = place.run(&["users", "import", "/nowhere/accounts.jsonl"]);
        assert_eq!(output.status.code(), Some(1));
        assert!(stderr(&output).contains("/nowhere/accounts.jsonl"), "{}", stderr(&output));
    }
}

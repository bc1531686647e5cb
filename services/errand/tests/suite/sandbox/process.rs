//! One running errand, however it was told to run: its process, its address and what it prints.

use std::{
    io::{BufRead, BufReader, Read},
    net::SocketAddr,
    process::{Child, Command, Stdio},
    sync::{Arc, Mutex, mpsc},
    thread::JoinHandle,
};

/// How a process is started.
#[derive(Clone)]
pub(crate) struct Recipe {
    pub(crate) arguments: Vec<String>,
    pub(crate) environment: Vec<(String, String)>,
}

/// A running process. Stopping it checks that its log holds no panic.
pub(crate) struct Process {
    recipe: Recipe,
    child: Child,
    said: mpsc::Receiver<SocketAddr>,
    /// Where it listens, once it was asked.
    pub(crate) listening: Option<SocketAddr>,
    log: Arc<Mutex<String>>,
    readers: Vec<JoinHandle<()>>,
}

impl Recipe {
    pub(crate) fn new(arguments: &[&str], environment: &[(String, String)]) -> Self {
        let arguments = arguments.iter().map(|argument| (*argument).to_owned()).collect();
        Self { arguments, environment: environment.to_vec() }
    }

    pub(crate) fn set(mut self, name: &str, value: &str) -> Self {
        self.environment.push((name.to_owned(), value.to_owned()));
        self
    }

    /// The command, without the settings of whoever runs the tests.
    pub(crate) fn command(&self) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_errand"));
        command
            .args(&self.arguments)
            .env_clear()
            // Where a run that measures coverage wants its counts.
            .envs(std::env::vars_os().filter(|(name, _)| name == "LLVM_PROFILE_FILE"))
            .env("ERRAND_LOG", "debug,h2=info,hyper=info")
            .envs(self.environment.iter().cloned())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    }
}

impl Process {
    /// Starts it, and does not wait for what it says.
    pub(crate) fn start(recipe: Recipe) -> Self {
        let mut child = recipe.command().spawn().unwrap();
        let log = Arc::new(Mutex::new(String::new()));
        let (tell, said) = mpsc::channel();
        let readers = vec![
            drain(child.stderr.take().unwrap(), log.clone(), |_| {}),
            drain(child.stdout.take().unwrap(), log.clone(), move |line| {
                let address = line.trim().strip_prefix("listening on http://").and_then(|rest| rest.parse().ok());
                if let Some(address) = address {
                    let _ = tell.send(address);
                }
            }),
        ];
        Self { recipe, child, said, listening: None, log, readers }
    }

    /// Waits until it listens, and says where.
    pub(crate) fn address(&mut self) -> SocketAddr {
        if self.listening.is_none() {
            self.listening = self.said.recv().ok();
        }
        self.listening.unwrap_or_else(|| {
            let status = self.child.wait().unwrap();
            self.readers.drain(..).for_each(|reader| reader.join().unwrap());
            panic!("{:?} ended with {status}:\n{}", self.recipe.arguments, self.log())
        })
    }

    /// The same again, after it ended.
    pub(crate) fn again(&mut self) {
        *self = Self::start(self.recipe.clone());
    }

    /// Sends a signal by name, such as `TERM`.
    pub(crate) fn signal(&self, name: &str) {
        let status = Command::new("kill").arg(format!("-{name}")).arg(self.pid().to_string()).status().unwrap();
        assert!(status.success());
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Kills it without warning, and does not wait until it is gone.
    pub(crate) fn strike(&mut self) {
        self.child.kill().unwrap();
    }

    /// Waits for it to end by itself.
    pub(crate) fn wait(&mut self) -> Option<i32> {
        let code = self.child.wait().unwrap().code();
        self.check_log();
        code
    }

    /// Everything that it printed.
    pub(crate) fn log(&self) -> String {
        self.log.lock().unwrap().clone()
    }

    fn check_log(&mut self) {
        self.readers.drain(..).for_each(|reader| reader.join().unwrap());
        let log = self.log.lock().unwrap();
        assert!(!log.contains("panicked"), "a panic was logged:\n{log}");
        assert!(!log.contains("internal error"), "an internal error was logged:\n{log}");
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if !std::thread::panicking() {
            self.check_log();
        }
    }
}

/// Keeps what is printed, and hands each line on.
fn drain(
    from: impl Read + Send + 'static,
    to: Arc<Mutex<String>>,
    hear: impl Fn(&str) + Send + 'static,
) -> JoinHandle<()> {
    std::thread::spawn(move || {
        let mut from = BufReader::new(from);
        let mut line = Vec::new();
        while let Ok(1..) = from.read_until(b'\n', &mut line) {
            let text = String::from_utf8_lossy(&line);
            hear(&text);
            to.lock().unwrap().push_str(&text);
            line.clear();
        }
    })
}

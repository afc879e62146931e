//! One process called `etcd`, its ports, and what it says.

use std::io::{BufRead, BufReader, Read};
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use holdfast_jepsen::world::process::send_signal;

/// How long anything may take on a busy machine.
pub const PATIENCE: Duration = Duration::from_secs(60);
const PAUSE: Duration = Duration::from_millis(20);

/// Two ports that were free a moment ago.
pub struct Ports {
    pub client: u16,
    pub peer: u16,
}

impl Ports {
    pub fn take() -> Self {
        let bind = || TcpListener::bind("127.0.0.1:0").expect("a free port");
        let port = |listener: &TcpListener| listener.local_addr().expect("a bound listener has an address").port();
        let (client, peer) = (bind(), bind());
        Self { client: port(&client), peer: port(&peer) }
    }

    pub fn client_url(&self) -> String {
        format!("http://127.0.0.1:{}", self.client)
    }

    pub fn peer_url(&self) -> String {
        format!("http://127.0.0.1:{}", self.peer)
    }
}

pub fn words(args: &[&str]) -> Vec<String> {
    args.iter().map(|arg| (*arg).to_owned()).collect()
}

/// A running one. It is killed when this is dropped.
pub struct EtcdProcess {
    child: Child,
    said: Arc<Mutex<Vec<String>>>,
}

impl EtcdProcess {
    /// Starts the link in `folder`, without any settings from this process' own environment.
    pub fn start(folder: &Path, args: &[String], environment: &[(&str, String)]) -> Self {
        let mut child = Command::new(crate::link(folder))
            .args(args)
            .current_dir(folder)
            .env_clear()
            .envs(environment.iter().map(|(name, value)| (*name, value)))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the built binary starts");
        let said = Arc::new(Mutex::new(Vec::new()));
        let stdout: Box<dyn Read + Send> = Box::new(child.stdout.take().expect("stdout is piped"));
        let stderr: Box<dyn Read + Send> = Box::new(child.stderr.take().expect("stderr is piped"));
        for stream in [stdout, stderr] {
            let said = Arc::clone(&said);
            std::thread::spawn(move || {
                for line in BufReader::new(stream).lines().map_while(Result::ok) {
                    said.lock().expect("no reader panics").push(line);
                }
            });
        }
        Self { child, said }
    }

    /// A cluster of one.
    pub fn start_one(folder: &Path, ports: &Ports, environment: &[(&str, String)]) -> Self {
        let data_dir = folder.join("data").display().to_string();
        let (client, peer) = (ports.client_url(), ports.peer_url());
        let args = [
            ["--data-dir", &data_dir],
            ["--listen-client-urls", &client],
            ["--advertise-client-urls", &client],
            ["--listen-peer-urls", &peer],
        ];
        Self::start(folder, &words(&args.concat()), environment)
    }

    /// Waits for a line that holds `text`, as pifpaf and etcd's own tests do.
    pub fn wait_line(&mut self, text: &str) -> String {
        let begun = Instant::now();
        loop {
            let found = self.lines().into_iter().find(|line| line.contains(text));
            if let Some(line) = found {
                return line;
            }
            let ended = self.child.try_wait().expect("a child can be waited for");
            assert!(ended.is_none(), "it ended ({ended:?}) without {text:?}:\n{}", self.said());
            assert!(begun.elapsed() < PATIENCE, "after {PATIENCE:?} there is no {text:?}:\n{}", self.said());
            std::thread::sleep(PAUSE);
        }
    }

    /// SIGTERM; gives the exit code.
    pub fn terminate(&mut self) -> Option<i32> {
        send_signal(&self.child, "TERM");
        let begun = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().expect("a child can be waited for") {
                return status.code();
            }
            assert!(begun.elapsed() < PATIENCE, "it does not end:\n{}", self.said());
            std::thread::sleep(PAUSE);
        }
    }

    fn lines(&self) -> Vec<String> {
        self.said.lock().expect("no reader panics").clone()
    }

    pub fn said(&self) -> String {
        self.lines().join("\n")
    }
}

impl Drop for EtcdProcess {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _already_gone = self.child.kill();
        let _reaped = self.child.wait();
    }
}

//! `holdfast dev`: three members in three zones, in one terminal.
//!
//! Each member is a process of its own (this program with `serve`), so that one can be killed like a real one. Their
//! log lines are shown with the member's name in front. Each holds the end of a pipe whose other end is here: when this
//! process ends, however it ends, the members stop.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command as Process, Stdio};

use clap::{Arg, ArgMatches, Command};
use tokio::sync::mpsc;

use super::signals::StopSignals;
use super::{DONE, MISUSED, NOT_STARTED, serve};
use holdfast_node::rt;

const MEMBERS: u16 = 3;
/// The ports of one member lie this far from the next one's, as in etcd's own example cluster: 2379, 12379, 22379.
const PORT_STEP: u16 = 10_000;

pub fn command() -> Command {
    Command::new("dev")
        .about("Run three members in three zones on this machine, to try things out")
        .arg(
            Arg::new("data-dir")
                .long("data-dir")
                .value_name("DIR")
                .default_value("holdfast-dev")
                .help("Where the members keep their data; they go on from what is there"),
        )
        .arg(
            Arg::new("client-port")
                .long("client-port")
                .value_name("PORT")
                .default_value("2379")
                .value_parser(clap::value_parser!(u16).range(1..=45_000))
                .help("Client port of the first member; the others are 10000 and 20000 higher, peer ports one higher"),
        )
        .arg(
            Arg::new("log-level")
                .long("log-level")
                .value_name("LEVEL")
                .default_value("info")
                .help("What the members log"),
        )
}

/// What one member is started with.
struct Plan {
    name: String,
    zone: String,
    client_url: String,
    arguments: Vec<String>,
}

pub fn run(matches: &ArgMatches) -> u8 {
    let data_dir = matches.get_one::<String>("data-dir").map(PathBuf::from).unwrap_or_default();
    let first_port = matches.get_one::<u16>("client-port").copied().unwrap_or(2379);
    let log_level = matches.get_one::<String>("log-level").map_or("info", String::as_str);
    let plans = match std::path::absolute(&data_dir) {
        Ok(data_dir) => plans(&data_dir, first_port, log_level),
        Err(error) => {
            eprintln!("holdfast: --data-dir {}: {error}", data_dir.display());
            return MISUSED;
        }
    };
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("holdfast: threads could not be started: {error}");
            return NOT_STARTED;
        }
    };
    runtime.block_on(run_members(&plans))
}

fn plans(data_dir: &Path, first_port: u16, log_level: &str) -> Vec<Plan> {
    let name = |number: u16| format!("n{}", number + 1);
    let client_url = |number: u16| format!("http://127.0.0.1:{}", first_port + number * PORT_STEP);
    let peer_url = |number: u16| format!("http://127.0.0.1:{}", first_port + 1 + number * PORT_STEP);
    let members: Vec<String> = (0..MEMBERS).map(|number| format!("{}={}", name(number), peer_url(number))).collect();
    let plan = |number: u16| {
        let zone = format!("zone-{}", char::from(b"abc"[usize::from(number)]));
        let arguments = [
            ("name", name(number)),
            ("zone", zone.clone()),
            ("data-dir", data_dir.join(name(number)).display().to_string()),
            ("listen-client-urls", client_url(number)),
            ("listen-peer-urls", peer_url(number)),
            ("initial-cluster", members.join(",")),
            ("initial-cluster-token", "holdfast-dev".to_owned()),
            ("log-format", "console".to_owned()),
            ("log-level", log_level.to_owned()),
        ];
        let arguments = arguments.into_iter().map(|(flag, value)| format!("--{flag}={value}")).collect();
        Plan { name: name(number), zone, client_url: client_url(number), arguments }
    };
    (0..MEMBERS).map(plan).collect()
}

/// A member has ended.
struct Ended {
    name: String,
    how: String,
}

async fn run_members(plans: &[Plan]) -> u8 {
    let mut signals = match StopSignals::install() {
        Ok(signals) => signals,
        Err(error) => {
            eprintln!("holdfast: signals cannot be taken: {error}");
            return NOT_STARTED;
        }
    };
    let (say_ended, mut ended) = mpsc::channel(usize::from(MEMBERS));
    let mut lifelines = Vec::new();
    for plan in plans {
        match start(plan) {
            Ok(mut member) => {
                lifelines.push(member.stdin.take());
                rt::spawn(follow(plan.name.clone(), member, say_ended.clone()));
            }
            Err(error) => {
                eprintln!("holdfast: member {} could not be started: {error}", plan.name);
                return NOT_STARTED;
            }
        }
    }
    drop(say_ended);
    println!("{}", greeting(plans));
    let mut is_stopping = false;
    let mut left = plans.len();
    while left > 0 {
        tokio::select! {
            biased;
            gone = ended.recv() => {
                let Some(Ended { name, how }) = gone else { break };
                left -= 1;
                println!("{name} | ended: {how}");
                if !is_stopping {
                    println!("{}", hint(plans, &name));
                }
            }
            _signal = signals.next() => {
                println!("stopping");
                is_stopping = true;
                lifelines.clear();
            }
        }
    }
    if is_stopping { DONE } else { NOT_STARTED }
}

fn start(plan: &Plan) -> std::io::Result<Child> {
    Process::new(std::env::current_exe()?)
        .arg("serve")
        .arg(format!("--{}", serve::STOP_WITH_PARENT))
        .args(&plan.arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::inherit())
        .stderr(Stdio::piped())
        .spawn()
}

/// Shows what a member logs, until it ends.
async fn follow(name: String, mut member: Child, say_ended: mpsc::Sender<Ended>) {
    let shown = name.clone();
    let followed = rt::blocking(move || {
        if let Some(lines) = member.stderr.take() {
            for line in BufReader::new(lines).lines().map_while(Result::ok) {
                println!("{shown} | {line}");
            }
        }
        member.wait()
    })
    .await;
    let how = match followed.and_then(|waited| waited) {
        Ok(status) => status.to_string(),
        Err(error) => error.to_string(),
    };
    // Nobody listens any more when this process is at its end.
    let _at_the_end = say_ended.send(Ended { name, how }).await;
}

fn greeting(plans: &[Plan]) -> String {
    let urls: Vec<&str> = plans.iter().map(|plan| plan.client_url.as_str()).collect();
    let endpoints = urls.join(",");
    let mut text = String::from("\nA cluster of three members in three zones:\n\n");
    for plan in plans {
        text.push_str(&format!("  {}  {}  {}\n", plan.name, plan.zone, plan.client_url));
    }
    text.push_str(&format!(
        "\nTry, in another terminal:\n\n  \
         export ETCDCTL_API=3 ETCDCTL_ENDPOINTS={endpoints}\n  \
         etcdctl put greeting hello && etcdctl get greeting\n  \
         holdfastctl --endpoints {endpoints} topology\n\n\
         Kill any one of them with -9 and go on. Ctrl-C stops all.\n"
    ));
    text
}

/// How to bring one member back while the others run.
fn hint(plans: &[Plan], name: &str) -> String {
    let Some(plan) = plans.iter().find(|plan| plan.name == name) else { return String::new() };
    format!("start it again, in another terminal:\n\n  holdfast serve {}\n", plan.arguments.join(" "))
}

#[cfg(test)]
mod tests {
    use super::*;
    use holdfast_node::config::{Manner, Sources};

    #[test]
    fn three_members_in_three_zones_know_one_another() {
        let plans = plans(Path::new("/tmp/dev"), 2379, "info");
        let urls: Vec<&str> = plans.iter().map(|plan| plan.client_url.as_str()).collect();
        assert_eq!(urls, ["http://127.0.0.1:2379", "http://127.0.0.1:12379", "http://127.0.0.1:22379"]);
        let cluster = "--initial-cluster=n1=http://127.0.0.1:2380,n2=http://127.0.0.1:12380,n3=http://127.0.0.1:22380";
        assert!(plans.iter().all(|plan| plan.arguments.iter().any(|argument| argument == cluster)));
        assert!(plans[1].arguments.contains(&"--data-dir=/tmp/dev/n2".to_owned()));
        assert!(hint(&plans, "n2").contains("--zone=zone-b"));
    }

    /// What `dev` passes on must be what `serve` takes.
    #[test]
    fn a_member_understands_its_command_line() {
        for plan in plans(Path::new("/tmp/dev"), 2379, "info") {
            let line = ["holdfast".to_owned(), "serve".to_owned()].into_iter().chain(plan.arguments);
            let matches = super::super::command().try_get_matches_from(line).unwrap();
            let (_, matches) = matches.subcommand().unwrap();
            let sources = Sources::gather(Manner::Holdfast, &super::super::flags_of(matches), &[].into(), None);
            let config = holdfast_node::config::settle(&sources.unwrap()).unwrap();
            assert_eq!((config.settings.name, config.settings.zone), (plan.name, plan.zone));
        }
    }
}

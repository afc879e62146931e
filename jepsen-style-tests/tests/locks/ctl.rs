//! `holdfastctl lock` and `elect`, and etcdctl's beside them where it is installed.

use std::io::{BufRead, BufReader, Read};
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};

use holdfast_jepsen::world::process::{Cluster, Program, Shape, find, holdfastctl_bin, send_signal};

use crate::stubs::queue_of;

struct Tool {
    program: PathBuf,
    endpoint: String,
}

impl Tool {
    fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new(&self.program);
        command.args(["--endpoints", &self.endpoint]).args(words).env("ETCDCTL_API", "3");
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    fn run(&self, words: &[&str]) -> Output {
        self.command(words).output().expect("runs")
    }
}

fn tools(cluster: &Cluster) -> Vec<Tool> {
    let endpoint = cluster.endpoint(0);
    let mut tools = vec![Tool { program: holdfastctl_bin(), endpoint: endpoint.clone() }];
    if let Some(program) = find(Program::Etcdctl) {
        let version = Command::new(&program).arg("version").env("ETCDCTL_API", "3").output().expect("runs");
        if String::from_utf8_lossy(&version.stdout).contains("version: 3.4") {
            println!("skipped: {} ends with other codes than etcdctl has since 3.5", program.display());
        } else {
            tools.push(Tool { program, endpoint });
        }
    }
    tools
}

fn lines(child: &mut Child, count: usize) -> Vec<String> {
    let out = child.stdout.as_mut().expect("piped");
    BufReader::new(out).lines().take(count).map(|line| line.expect("text")).collect()
}

/// SIGINT, which both tools know.
fn interrupt(child: &Child) {
    send_signal(child, "INT");
}

fn failed_with(output: &Output, code: i32, text: &str) {
    let err = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{err}");
    assert!(err.contains(text), "{err}");
}

pub async fn lock_and_elect() {
    let cluster = Cluster::start(&Shape::holdfast(1)).await;
    let client = cluster.client();
    for tool in tools(&cluster) {
        let name = tool.program.display();
        let mut child = tool.command(&["lock", "jobs"]).spawn().expect("starts");
        let shown = lines(&mut child, 2);
        assert!(shown[0].starts_with("jobs/") && shown[1].is_empty(), "{name}: {shown:?}");
        queue_of(&client, "jobs", 1).await;
        interrupt(&child);
        assert!(child.wait().expect("ends").success(), "{name}");
        queue_of(&client, "jobs", 0).await;

        let script = "test \"$ETCD_LOCK_REV\" -gt 1 && echo \"key $ETCD_LOCK_KEY\" && exit 3";
        let output = tool.run(&["lock", "--", "jobs", "sh", "-c", script]);
        failed_with(&output, 3, "exit status");
        assert!(output.stdout.starts_with(b"key jobs/"), "{name}: {output:?}");
        queue_of(&client, "jobs", 0).await;
        assert!(tool.run(&["lock", "jobs", "true"]).status.success(), "{name}");
        failed_with(&tool.run(&["lock"]), 128, "");
        failed_with(&tool.run(&["elect", "chief"]), 1, "no proposal argument but -l not set");
        failed_with(&tool.run(&["elect", "-l", "chief", "x"]), 128, "");

        let mut leads = tool.command(&["elect", "chief", "one"]).spawn().expect("starts");
        let shown = lines(&mut leads, 2);
        assert!(shown[0].starts_with("chief/") && shown[1] == "one", "{name}: {shown:?}");
        let mut listens = tool.command(&["elect", "-l", "chief"]).spawn().expect("starts");
        assert_eq!(lines(&mut listens, 2), shown, "{name}");
        interrupt(&leads);
        assert!(leads.wait().expect("ends").success(), "{name}");
        queue_of(&client, "chief", 0).await;
        interrupt(&listens);
        assert!(listens.wait().expect("ends").success(), "{name}");
    }
}

/// What etcdctl does not: SIGTERM gives the lock up too, and reaches the command; who waits leaves the queue.
pub async fn signals() {
    let cluster = Cluster::start(&Shape::holdfast(1)).await;
    let client = cluster.client();
    let tool = Tool { program: holdfastctl_bin(), endpoint: cluster.endpoint(0) };
    let script = "trap 'echo told; exit 0' TERM; echo $HOLDFAST_FENCING_TOKEN; while :; do sleep 0.05; done";
    let mut child = tool.command(&["lock", "jobs", "sh", "-c", script]).spawn().expect("starts");
    let token = lines(&mut child, 1).remove(0);
    let held = client.get("jobs/").prefix().await.expect("read").kvs.remove(0);
    assert_eq!(token, held.create_revision.to_string());

    let mut waits = tool.command(&["lock", "jobs"]).spawn().expect("starts");
    queue_of(&client, "jobs", 2).await;
    interrupt(&waits);
    assert_eq!(waits.wait().expect("ends").code(), Some(1), "it never had the lock");
    queue_of(&client, "jobs", 1).await;

    send_signal(&child, "TERM");
    assert!(child.wait().expect("ends").success(), "the command ended well");
    let mut rest = String::new();
    child.stdout.as_mut().expect("piped").read_to_string(&mut rest).expect("text");
    assert_eq!(rest, "told\n");
    queue_of(&client, "jobs", 0).await;
}

//! `lock` and `elect`: hold something, and hold it no longer than this process lives or is told to.

use std::ffi::OsString;
use std::io::IsTerminal;
use std::os::unix::ffi::OsStringExt;
use std::process::{Command, ExitStatus, Stdio};

use futures::StreamExt;
use holdfast_client::Lock;
use holdfast_client::proto::etcdserverpb::RangeResponse;
use rustix::process;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::oneshot;

use crate::Session;
use crate::args::{ElectArgs, LockArgs, bytes};
use crate::failure::Failure;
use crate::output::{Listing, ValueStyle};

/// Seconds; etcdctl has no flag for it.
const ELECTION_TTL_S: i64 = 60;

/// What a user or a supervisor ends a command with.
struct Interruptions {
    interrupt: Signal,
    terminate: Signal,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Interruption {
    Interrupt,
    Terminate,
}

impl Interruptions {
    fn listen() -> Result<Self, Failure> {
        let on = |kind| signal(kind).map_err(|error| Failure::error(format!("cannot wait for signals: {error}")));
        Ok(Self { interrupt: on(SignalKind::interrupt())?, terminate: on(SignalKind::terminate())? })
    }

    async fn next(&mut self) -> Interruption {
        tokio::select! {
            biased;
            _ = self.terminate.recv() => Interruption::Terminate,
            _ = self.interrupt.recv() => Interruption::Interrupt,
        }
    }
}

pub(crate) async fn lock(session: &Session, args: LockArgs) -> Result<(), Failure> {
    let mut interruptions = Interruptions::listen()?;
    let kept = session.client.session(args.ttl).await?;
    let waited = tokio::select! {
        biased;
        _ = interruptions.next() => None,
        lock = kept.lock(bytes(args.name)) => Some(lock),
    };
    let result = match waited {
        None => Err(Failure::error("context canceled")),
        Some(Err(error)) => Err(error.into()),
        Some(Ok(lock)) => {
            let result = hold(session, &lock, args.command, &mut interruptions).await;
            let unlocked = lock.unlock().await.map_err(Failure::from);
            result.and(unlocked)
        }
    };
    // The lock is given up already; a lease that stays behind ends by itself.
    let _ = kept.close().await;
    result
}

async fn hold(
    session: &Session,
    lock: &Lock,
    command: Vec<OsString>,
    interruptions: &mut Interruptions,
) -> Result<(), Failure> {
    let mut command = command.into_iter();
    if let Some(program) = command.next() {
        let status = run(lock, &program, command.collect(), interruptions).await?;
        return if status.success() { Ok(()) } else { Err(Failure::of_command(status)) };
    }
    let answer = session.client.get(lock.key()).await?;
    if answer.kvs.is_empty() {
        return Err(Failure::error("lock lost on init"));
    }
    session.printer.show(&Listing { answer, style: ValueStyle::Pairs })?;
    tokio::select! {
        biased;
        _ = interruptions.next() => Ok(()),
        _ = lock.lost() => Err(Failure::error("session expired")),
    }
}

/// Runs the command to its end. It is told when to stop, and a lost lock is said aloud: what the command protects by
/// the fencing token stays safe, what it does not, does not.
async fn run(
    lock: &Lock,
    program: &OsString,
    rest: Vec<OsString>,
    interruptions: &mut Interruptions,
) -> Result<ExitStatus, Failure> {
    let child = Command::new(program)
        .args(rest)
        .env("ETCD_LOCK_KEY", OsString::from_vec(lock.key().to_vec()))
        .env("ETCD_LOCK_REV", lock.header().revision.to_string())
        .env("HOLDFAST_FENCING_TOKEN", lock.token().to_string())
        .stdin(Stdio::null())
        .spawn();
    let mut child = child.map_err(|error| Failure::error(format!("cannot run {}: {error}", program.display())))?;
    let pid = child.id();
    let (ended, mut end) = oneshot::channel();
    std::thread::spawn(move || ended.send(child.wait()));
    let mut is_lost = false;
    loop {
        tokio::select! {
            biased;
            status = &mut end => {
                let status = status.map_err(|_| Failure::error("the command got lost"))?;
                return status.map_err(|error| Failure::error(format!("cannot wait for the command: {error}")));
            }
            interruption = interruptions.next() => pass_on(interruption, pid),
            why = lock.lost(), if !is_lost => {
                is_lost = true;
                eprintln!("Warning: the lock is lost while the command runs: {why}");
            }
        }
    }
}

/// A terminal interrupts the command by itself.
fn pass_on(interruption: Interruption, pid: u32) {
    let signal = match interruption {
        Interruption::Interrupt if std::io::stdin().is_terminal() => return,
        Interruption::Interrupt => process::Signal::INT,
        Interruption::Terminate => process::Signal::TERM,
    };
    if let Some(pid) = i32::try_from(pid).ok().and_then(process::Pid::from_raw) {
        // If it is gone already, its end is the next thing seen.
        let _ = process::kill_process(pid, signal);
    }
}

pub(crate) async fn elect(session: &Session, args: ElectArgs) -> Result<(), Failure> {
    match (args.listen, args.proposal) {
        (true, None) => listen(session, bytes(args.name)).await,
        (true, Some(_)) => Err(Failure::args("elect -l takes one election name and no proposal")),
        (false, Some(proposal)) => campaign(session, bytes(args.name), bytes(proposal)).await,
        (false, None) => Err(Failure::error("no proposal argument but -l not set")),
    }
}

async fn listen(session: &Session, name: Vec<u8>) -> Result<(), Failure> {
    let mut interruptions = Interruptions::listen()?;
    let mut leaders = session.client.observe(name);
    loop {
        let leader = tokio::select! {
            biased;
            _ = interruptions.next() => return Ok(()),
            leader = leaders.next() => leader,
        };
        match leader {
            Some(Ok(kv)) => {
                let answer = RangeResponse { kvs: vec![kv], ..RangeResponse::default() };
                session.printer.show(&Listing { answer, style: ValueStyle::Pairs })?;
            }
            Some(Err(error)) => return Err(error.into()),
            None => return Err(Failure::error("elect: observer lost")),
        }
    }
}

async fn campaign(session: &Session, name: Vec<u8>, proposal: Vec<u8>) -> Result<(), Failure> {
    let mut interruptions = Interruptions::listen()?;
    let kept = session.client.session(ELECTION_TTL_S).await?;
    let waited = tokio::select! {
        biased;
        _ = interruptions.next() => None,
        leadership = kept.campaign(name, proposal) => Some(leadership),
    };
    let result = match waited {
        None => Err(Failure::error("context canceled")),
        Some(Err(error)) => Err(error.into()),
        Some(Ok(leadership)) => {
            let answer = session.client.get(leadership.key()).await?;
            session.printer.show(&Listing { answer, style: ValueStyle::Pairs })?;
            let result = tokio::select! {
                biased;
                _ = interruptions.next() => Ok(()),
                _ = leadership.lost() => Err(Failure::error("elect: session expired")),
            };
            let resigned = leadership.resign().await.map_err(Failure::from);
            result.and(resigned)
        }
    };
    // The leadership is given up already; a lease that stays behind ends by itself.
    let _ = kept.close().await;
    result
}

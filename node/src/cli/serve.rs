//! `holdfast serve`: one member, until it is told to stop.

use std::collections::BTreeMap;
use std::io::Read;
use std::path::{Path, PathBuf};

use clap::ArgMatches;

use super::signals::StopSignals;
use super::{DONE, MISUSED, NOT_STARTED, flags_of, logging, notify};
use holdfast_node::config::{Config, ConfigError, Manner, Sources, config_file_of, settle};
use holdfast_node::env::{Disk, OpenMode, RealDisk, exit_now};
use holdfast_node::io::Io;
use holdfast_node::node::Node;
use holdfast_node::rt;

/// Ends the member when its standard input ends: `dev` holds the other end, and cannot leave members behind.
pub const STOP_WITH_PARENT: &str = "stop-with-parent";
/// No configuration is larger, in bytes.
const FILE_BYTES_MAX: u64 = 1024 * 1024;

/// What ends a member.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum StopsWith {
    Signals,
    /// The end of standard input too.
    Parent,
}

pub fn run(matches: &ArgMatches) -> u8 {
    let environment = environment();
    let path = matches.get_one::<String>("config-file").map(PathBuf::from).or_else(|| config_file_of(&environment));
    let config = match configure(Manner::Holdfast, &flags_of(matches), &environment, path.as_deref()) {
        Ok(config) => config,
        Err(error) => {
            eprintln!("holdfast: {error}");
            return MISUSED;
        }
    };
    if let Err(error) = logging::install(&config.log) {
        eprintln!("holdfast: logging could not be set up: {error}");
        return MISUSED;
    }
    let stops_with = if matches.get_flag(STOP_WITH_PARENT) { StopsWith::Parent } else { StopsWith::Signals };
    run_member(config, stops_with)
}

/// Runs a member until it is told to stop. The log must be installed.
pub fn run_member(config: Config, stops_with: StopsWith) -> u8 {
    for remark in &config.remarks {
        tracing::warn!("{remark}");
    }
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().thread_name("holdfast").build() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("holdfast: threads could not be started: {error}");
            return NOT_STARTED;
        }
    };
    let code = runtime.block_on(serve(config, stops_with));
    // Threads that wait for the end of standard input, or that are RocksDB's, must not hold the process up.
    exit_now(code)
}

/// The environment, as far as it is text.
pub fn environment() -> BTreeMap<String, String> {
    std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
        .collect()
}

/// Reads the file, if there is one, and settles everything.
pub fn configure<N: AsRef<str>>(
    manner: Manner,
    flags: &[(N, String)],
    environment: &BTreeMap<String, String>,
    path: Option<&Path>,
) -> Result<Config, ConfigError> {
    let file = match path {
        Some(path) => Some((path, read(path)?)),
        None => None,
    };
    let file = file.as_ref().map(|(path, contents)| (*path, contents.as_str()));
    settle(&Sources::gather(manner, flags, environment, file)?)
}

fn read(path: &Path) -> Result<String, ConfigError> {
    let unreadable = |detail: String| ConfigError::File { path: path.to_owned(), detail };
    let read = || -> std::io::Result<Option<Vec<u8>>> {
        let file = RealDisk.open(path, OpenMode::Read)?;
        let length = file.len()?;
        if length > FILE_BYTES_MAX {
            return Ok(None);
        }
        let mut bytes = vec![0; usize::try_from(length).unwrap_or(0)];
        file.read_exact_at(&mut bytes, 0)?;
        Ok(Some(bytes))
    };
    let bytes = read().map_err(|error| unreadable(format!("the configuration cannot be read: {error}")))?;
    let bytes = bytes.ok_or_else(|| unreadable(format!("no configuration has more than {FILE_BYTES_MAX} bytes")))?;
    String::from_utf8(bytes).map_err(|_| unreadable("expected UTF-8".to_owned()))
}

async fn serve(config: Config, stops_with: StopsWith) -> u8 {
    let mut signals = match StopSignals::install() {
        Ok(signals) => signals,
        Err(error) => {
            eprintln!("holdfast: signals cannot be taken: {error}");
            return NOT_STARTED;
        }
    };
    let starting = Node::start(config.settings, Io::real());
    let node = tokio::select! {
        biased;
        signal = signals.next() => {
            tracing::info!(signal, "stopped while starting");
            return DONE;
        }
        started = starting => match started {
            Ok(node) => node,
            Err(error) => {
                tracing::error!(%error, "this node did not start");
                return NOT_STARTED;
            }
        },
    };
    let running = async {
        node.ready().await;
        notify::ready();
        futures::future::pending::<()>().await;
    };
    tokio::select! {
        biased;
        signal = signals.next() => tracing::info!(signal, "received signal; shutting down"),
        () = parent_gone(stops_with) => tracing::info!("standard input has ended: stopping"),
        () = running => {}
    }
    notify::stopping();
    tokio::select! {
        biased;
        signal = signals.next() => tracing::warn!(signal, "asked again: stopping at once; the log has everything"),
        () = node.stop() => {}
    }
    DONE
}

/// Resolves when standard input has ended, if that matters.
async fn parent_gone(stops_with: StopsWith) {
    if stops_with == StopsWith::Signals {
        futures::future::pending::<()>().await;
    }
    // Any end will do: a parent that died closes its side too.
    let _ended = rt::blocking(|| {
        let mut ignored = [0; 64];
        while matches!(std::io::stdin().lock().read(&mut ignored), Ok(read) if read > 0) {}
    })
    .await;
}

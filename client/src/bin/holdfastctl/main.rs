//! `holdfastctl`: the command line of Holdfast, with the words, the flags and the output of etcdctl.
//!
//! ```text
//! args      what can be typed
//! one file for each family of commands: what it does
//! output/   how an answer is shown: simple (etcdctl's lines), json (etcdctl's objects), table
//! failure   what goes to stderr, and the exit code
//! ```

mod args;
mod auth;
mod endpoint;
mod failure;
mod hold;
mod input;
mod kv;
mod lease;
mod maintenance;
mod member;
mod output;
mod tls;
mod topology;
mod txn;
mod txn_script;
mod watch;

use std::process::ExitCode;

use clap::Parser;
use holdfast_client::Client;

use args::{Cli, Command, Globals};
use failure::Failure;
use output::Printer;

/// What every command works with.
struct Session {
    client: Client,
    globals: Globals,
    endpoints: Vec<String>,
    printer: Printer,
}

impl Session {
    fn open(globals: Globals) -> Result<Self, Failure> {
        let endpoints = globals.endpoints();
        let client = Client::connect(endpoints.clone(), globals.options()?)?;
        let printer = Printer::new(globals.write_out, globals.byte_style());
        Ok(Self { client, globals, endpoints, printer })
    }

    /// A client that speaks to one endpoint and no other.
    fn client_of(&self, endpoint: &str) -> Result<Client, Failure> {
        Ok(Client::connect([endpoint], self.globals.options()?)?)
    }
}

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return failure::usage(&error),
    };
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return Failure::error(format!("cannot start: {error}")).report(),
    };
    match runtime.block_on(run(cli)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.report(),
    }
}

async fn run(cli: Cli) -> Result<(), Failure> {
    let session = Session::open(cli.globals)?;
    match cli.command {
        Command::Put(args) => kv::put(&session, args).await,
        Command::Get(args) => kv::get(&session, args).await,
        Command::Del(args) => kv::del(&session, args).await,
        Command::Compaction(args) => kv::compaction(&session, args).await,
        Command::Txn(args) => txn::txn(&session, args).await,
        Command::Watch(args) => watch::watch(&session, args).await,
        Command::Lease(command) => lease::lease(&session, command).await,
        Command::Lock(args) => hold::lock(&session, args).await,
        Command::Elect(args) => hold::elect(&session, args).await,
        Command::Member(command) => member::member(&session, command).await,
        Command::Endpoint(args) => endpoint::endpoint(&session, args).await,
        Command::Auth(command) => auth::auth(&session, command).await,
        Command::User(command) => auth::user(&session, command).await,
        Command::Role(command) => auth::role(&session, command).await,
        Command::Topology => topology::topology(&session).await,
        Command::Alarm(command) => maintenance::alarm(&session, command).await,
        Command::Defrag(args) => maintenance::defrag(&session, args).await,
        Command::Snapshot(command) => maintenance::snapshot(&session, command).await,
        Command::MoveLeader(args) => maintenance::move_leader(&session, args).await,
        Command::Version => output::line(&format!(
            "holdfastctl version: {}\nAPI version: {}",
            env!("CARGO_PKG_VERSION"),
            args::API_VERSION
        )),
    }
}

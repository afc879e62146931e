//! What can be typed. Names are etcdctl's wherever etcdctl has the thing.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};
use holdfast_client::{Login, Options};

use crate::failure::Failure;
use crate::input;
use crate::output::{ByteStyle, Format, go};
use crate::tls::TlsArgs;

/// The etcd API whose words this tool speaks.
pub(crate) const API_VERSION: &str = "3.5";
const DEFAULT_ENDPOINT: &str = "127.0.0.1:2379";
/// etcdctl's own name for the list of endpoints; used where ours is not set.
const ETCDCTL_ENDPOINTS: &str = "ETCDCTL_ENDPOINTS";
const ETCDCTL_USER: &str = "ETCDCTL_USER";

/// The command line of Holdfast, a replicated key-value store. Works with any etcd v3 server too.
#[derive(Debug, Parser)]
#[command(name = "holdfastctl", disable_version_flag = true, max_term_width = 100)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) globals: Globals,
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Args)]
pub(crate) struct Globals {
    /// Addresses of members, separated by commas [env: also ETCDCTL_ENDPOINTS] [default: 127.0.0.1:2379]
    #[arg(long, global = true, value_delimiter = ',', env = "HOLDFASTCTL_ENDPOINTS", value_name = "HOST:PORT")]
    endpoints: Vec<String>,
    /// How long setting up a connection may take
    #[arg(long, global = true, default_value = "2s", value_parser = go::parse_duration)]
    dial_timeout: Duration,
    /// How long a command may take, watches, keep-alives and snapshots aside
    #[arg(long, global = true, default_value = "5s", value_parser = go::parse_duration)]
    command_timeout: Duration,
    /// Who asks, as user or user:password [env: also ETCDCTL_USER]
    #[arg(long, global = true, env = "HOLDFASTCTL_USER", hide_env_values = true, value_name = "USER[:PASSWORD]")]
    user: Option<String>,
    /// The password, if --user has none
    #[arg(long, global = true, env = "HOLDFASTCTL_PASSWORD", hide_env_values = true)]
    password: Option<String>,
    /// How answers are shown
    #[arg(short, long, global = true, value_enum, default_value = "simple")]
    pub(crate) write_out: Format,
    /// Show keys and values as \xNN
    #[arg(long, global = true)]
    hex: bool,
    #[command(flatten)]
    tls: TlsArgs,
}

impl Globals {
    pub(crate) fn endpoints(&self) -> Vec<String> {
        if !self.endpoints.is_empty() {
            return self.endpoints.clone();
        }
        let from_env = std::env::var(ETCDCTL_ENDPOINTS).unwrap_or_default();
        let listed = if from_env.is_empty() { DEFAULT_ENDPOINT } else { &from_env };
        listed.split(',').map(str::to_owned).collect()
    }

    pub(crate) fn options(&self) -> Result<Options, Failure> {
        Ok(Options {
            connect_timeout: self.dial_timeout,
            request_timeout: self.command_timeout,
            login: self.login(),
            tls: self.tls.tls()?,
            ..Options::default()
        })
    }

    /// A user without a password is asked for it on standard input.
    fn login(&self) -> Option<Login> {
        let given = self.user.clone().or_else(|| std::env::var(ETCDCTL_USER).ok()).filter(|user| !user.is_empty())?;
        let (user, password) = match (given.split_once(':'), &self.password) {
            (_, Some(password)) => (given.clone(), password.clone()),
            (Some((user, password)), None) => (user.to_owned(), password.to_owned()),
            (None, None) => (given.clone(), input::password(&format!("Password of {given}: ")).unwrap_or_default()),
        };
        Some(Login { user, password })
    }

    pub(crate) fn byte_style(&self) -> ByteStyle {
        if self.hex { ByteStyle::Hex } else { ByteStyle::Raw }
    }
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Puts a key; without a value, reads it from standard input
    Put(PutArgs),
    /// Gets a key or a range of keys
    Get(GetArgs),
    /// Deletes a key or a range of keys
    Del(DelArgs),
    /// Reads a transaction from standard input and executes it
    #[command(after_help = TXN_HELP)]
    Txn(TxnArgs),
    /// Watches a key or a range of keys until interrupted
    Watch(WatchArgs),
    /// Leases: grant, revoke, timetolive, list, keep-alive
    #[command(subcommand)]
    Lease(LeaseCommand),
    /// Holds a lock until interrupted, or while a command runs
    #[command(after_help = LOCK_HELP)]
    Lock(LockArgs),
    /// Leads an election until interrupted, or shows who does
    Elect(ElectArgs),
    /// Membership: list, add, remove, update, promote
    #[command(subcommand)]
    Member(MemberCommand),
    /// The members one by one: status, health, hashkv
    Endpoint(EndpointArgs),
    /// Authentication: enable, disable, status
    #[command(subcommand)]
    Auth(AuthCommand),
    /// Users: add, get, list, delete, passwd, grant-role, revoke-role
    #[command(subcommand)]
    User(UserCommand),
    /// Roles: add, get, list, delete, grant-permission, revoke-permission
    #[command(subcommand)]
    Role(RoleCommand),
    /// Members by zone, who leads, who lags, and whether the cluster survives the loss of any zone
    Topology,
    /// Gives up the history before a revision
    Compaction(CompactionArgs),
    /// Gives space back to the file system
    Defrag(ClusterArgs),
    /// Alarms: list, disarm
    #[command(subcommand)]
    Alarm(AlarmCommand),
    /// Snapshots: save
    #[command(subcommand)]
    Snapshot(SnapshotCommand),
    /// Hands the leadership to another member
    MoveLeader(MoveLeaderArgs),
    /// Shows the version
    Version,
}

const LOCK_HELP: &str = "\
The command finds the lock's key in ETCD_LOCK_KEY, the revision in ETCD_LOCK_REV, and in HOLDFAST_FENCING_TOKEN the
number that whatever the lock protects should compare. Its exit code is the exit code.";

const TXN_HELP: &str = "\
Three blocks, each ended by an empty line: comparisons, what to do if all hold, what to do otherwise.

  mod(\"key1\") > \"0\"
  value(\"key2\") = \"old\"

  put key1 \"new value\"
  get key2

  del key1 --prefix

Comparisons: value, ver (version), c (create), m (mod), lease; with =, !=, < or >.";

#[derive(Debug, Args)]
pub(crate) struct PutArgs {
    pub(crate) key: OsString,
    pub(crate) value: Option<OsString>,
    /// Lease to attach the key to, in hexadecimal
    #[arg(long)]
    pub(crate) lease: Option<String>,
    /// Show what the key held before
    #[arg(long)]
    pub(crate) prev_kv: bool,
    /// Keep the value, change the lease only
    #[arg(long)]
    pub(crate) ignore_value: bool,
    /// Keep the lease
    #[arg(long)]
    pub(crate) ignore_lease: bool,
}

/// Which keys a read or a deletion is about.
#[derive(Debug, Args)]
pub(crate) struct RangeArgs {
    pub(crate) key: OsString,
    /// First key that is not meant any more
    pub(crate) range_end: Option<OsString>,
    /// All keys that begin with the key
    #[arg(long)]
    pub(crate) prefix: bool,
    /// All keys from the key on
    #[arg(long)]
    pub(crate) from_key: bool,
}

#[derive(Debug, Args)]
pub(crate) struct GetArgs {
    #[command(flatten)]
    pub(crate) range: RangeArgs,
    /// l: linearizable, asks a quorum; s: serializable, takes what the member has
    #[arg(long, default_value = "l")]
    pub(crate) consistency: String,
    /// As of this revision
    #[arg(long, default_value_t = 0)]
    pub(crate) rev: i64,
    /// At most so many keys
    #[arg(long, default_value_t = 0)]
    pub(crate) limit: i64,
    /// ASCEND or DESCEND
    #[arg(long, default_value = "")]
    pub(crate) order: String,
    /// CREATE, KEY, MODIFY, VALUE or VERSION
    #[arg(long, default_value = "")]
    pub(crate) sort_by: String,
    /// Leave the keys out (simple output)
    #[arg(long)]
    pub(crate) print_value_only: bool,
    /// Leave the values out
    #[arg(long)]
    pub(crate) keys_only: bool,
    /// Only count
    #[arg(long)]
    pub(crate) count_only: bool,
}

#[derive(Debug, Args)]
pub(crate) struct DelArgs {
    #[command(flatten)]
    pub(crate) range: RangeArgs,
    /// Show what was deleted
    #[arg(long)]
    pub(crate) prev_kv: bool,
}

#[derive(Debug, Args)]
pub(crate) struct TxnArgs {
    /// Prompt for the blocks
    #[arg(short, long)]
    pub(crate) interactive: bool,
}

#[derive(Debug, Args)]
pub(crate) struct WatchArgs {
    pub(crate) key: OsString,
    /// First key that is not meant any more
    pub(crate) range_end: Option<OsString>,
    /// All keys that begin with the key
    #[arg(long)]
    pub(crate) prefix: bool,
    /// First revision to show
    #[arg(long, default_value_t = 0)]
    pub(crate) rev: i64,
    /// Show what the key held before
    #[arg(long)]
    pub(crate) prev_kv: bool,
    /// Show signs of life when nothing changes
    #[arg(long)]
    pub(crate) progress_notify: bool,
}

#[derive(Debug, Args)]
pub(crate) struct CompactionArgs {
    pub(crate) revision: i64,
    /// Wait until the history has left the disk
    #[arg(long)]
    pub(crate) physical: bool,
}

#[derive(Debug, Subcommand)]
pub(crate) enum LeaseCommand {
    /// Grants a lease
    Grant {
        /// Seconds
        ttl: i64,
    },
    /// Ends a lease and deletes its keys
    Revoke { id: String },
    /// Shows how long a lease has left
    Timetolive {
        id: String,
        /// List its keys
        #[arg(long)]
        keys: bool,
    },
    /// Lists all leases
    List,
    /// Keeps a lease alive until interrupted
    KeepAlive {
        id: String,
        /// Renew it once
        #[arg(long)]
        once: bool,
    },
}

#[derive(Debug, Args)]
pub(crate) struct LockArgs {
    pub(crate) name: OsString,
    /// Seconds without a sign of life after which the lock is another's
    #[arg(long, default_value_t = 10)]
    pub(crate) ttl: i64,
    /// What to run while the lock is held
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    pub(crate) command: Vec<OsString>,
}

#[derive(Debug, Args)]
pub(crate) struct ElectArgs {
    pub(crate) name: OsString,
    /// What the leader proclaims
    pub(crate) proposal: Option<OsString>,
    /// Show who leads, from now on
    #[arg(short, long)]
    pub(crate) listen: bool,
}

#[derive(Debug, Subcommand)]
pub(crate) enum MemberCommand {
    /// Lists the members
    List,
    /// Adds a member; do this before starting it
    Add {
        name: String,
        /// Where it will be reached by the others, separated by commas
        #[arg(long, value_delimiter = ',', required = true)]
        peer_urls: Vec<String>,
        /// Let it copy the data before it votes
        #[arg(long)]
        learner: bool,
    },
    /// Removes a member
    Remove { id: String },
    /// Changes where a member is reached by the others
    Update {
        id: String,
        #[arg(long, value_delimiter = ',', required = true)]
        peer_urls: Vec<String>,
    },
    /// Gives a learner its vote
    Promote { id: String },
}

#[derive(Clone, Copy, Debug, Subcommand)]
pub(crate) enum AuthCommand {
    /// From now on everybody says who they are; needs a user root with the role root
    Enable,
    /// From now on nobody is asked
    Disable,
    /// Whether it is on, and how often users and roles have changed
    Status,
}

#[derive(Debug, Subcommand)]
pub(crate) enum UserCommand {
    /// Makes a user; without :PASSWORD, reads it from standard input
    Add {
        /// NAME or NAME:PASSWORD
        user: String,
        /// For a user who has a certificate
        #[arg(long)]
        no_password: bool,
    },
    /// Shows a user's roles
    Get { user: String },
    /// Lists all users
    List,
    /// Removes a user
    Delete { user: String },
    /// Changes a password, which is read from standard input
    Passwd { user: String },
    /// Gives a user a role
    GrantRole { user: String, role: String },
    /// Takes a role from a user
    RevokeRole { user: String, role: String },
}

#[derive(Debug, Subcommand)]
pub(crate) enum RoleCommand {
    /// Makes a role
    Add { role: String },
    /// Shows what a role permits
    Get { role: String },
    /// Lists all roles
    List,
    /// Removes a role
    Delete { role: String },
    /// Lets a role have keys
    GrantPermission {
        role: String,
        /// read, write or readwrite
        #[arg(value_parser = ["read", "write", "readwrite"])]
        access: String,
        #[command(flatten)]
        range: RangeArgs,
    },
    /// Takes keys from a role
    RevokePermission {
        role: String,
        #[command(flatten)]
        range: RangeArgs,
    },
}

#[derive(Debug, Args)]
pub(crate) struct EndpointArgs {
    #[command(subcommand)]
    pub(crate) command: EndpointCommand,
    #[command(flatten)]
    pub(crate) cluster: ClusterArgs,
}

#[derive(Debug, Args)]
pub(crate) struct ClusterArgs {
    /// Every member of the cluster, not only the endpoints given
    #[arg(long, global = true)]
    pub(crate) cluster: bool,
}

#[derive(Debug, Subcommand)]
pub(crate) enum EndpointCommand {
    /// Version, size, role and log position of each
    Status,
    /// Whether each can commit
    Health,
    /// The hash of each one's history; equal revisions must have equal hashes
    Hashkv {
        /// Up to this revision; 0 is the present one
        #[arg(long, default_value_t = 0)]
        rev: i64,
    },
}

#[derive(Clone, Copy, Debug, Subcommand)]
pub(crate) enum AlarmCommand {
    /// Lists the alarms that are up
    List,
    /// Takes all alarms down
    Disarm,
}

#[derive(Debug, Subcommand)]
pub(crate) enum SnapshotCommand {
    /// Writes a snapshot of one member to a file and checks it
    Save { path: PathBuf },
}

#[derive(Debug, Args)]
pub(crate) struct MoveLeaderArgs {
    /// Member to lead, in hexadecimal
    pub(crate) target: String,
}

/// An argument as the bytes that were typed.
pub(crate) fn bytes(argument: OsString) -> Vec<u8> {
    argument.into_vec()
}

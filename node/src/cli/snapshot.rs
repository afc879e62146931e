//! `holdfast snapshot restore` and `holdfast snapshot status`: what `etcdutl` does with a file of `snapshot save`.
//! Flags and their defaults are etcd's.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use clap::{Arg, ArgAction, ArgMatches, Command};

use super::{DONE, MISUSED, NOT_STARTED};
use holdfast_node::backup::{DigestCheck, SnapshotFile, Summary};
use holdfast_node::config::peer_urls_by_name;
use holdfast_node::env::RealDisk;
use holdfast_node::io::Io;
use holdfast_node::node::{Restore, restore};

const URL_DEFAULT: &str = "http://localhost:2380";

pub fn command() -> Command {
    let value = |name: &'static str, placeholder: &'static str, help: &'static str| {
        Arg::new(name).long(name).value_name(placeholder).help(help).allow_hyphen_values(true)
    };
    let file = || Arg::new("file").value_name("FILE").required(true).help("A file of `etcdctl snapshot save`");
    let restore = Command::new("restore")
        .about("Make a data directory out of a snapshot, Holdfast's or etcd's: once for each member of a new cluster")
        .args_override_self(true)
        .arg(file())
        .arg(value("data-dir", "DIR", "The directory to make; it must be empty or not there [default: NAME.etcd]"))
        .arg(value("name", "NAME", "The member's name").default_value("default"))
        .arg(value("initial-cluster", "NAME=URL,...", "All members of the new cluster [default: NAME and its URLs]"))
        .arg(value("initial-cluster-token", "TOKEN", "Tells clusters apart").default_value("etcd-cluster"))
        .arg(
            value("initial-advertise-peer-urls", "URL,...", "Where the others reach this member")
                .default_value(URL_DEFAULT),
        )
        .arg(
            Arg::new("skip-hash-check")
                .long("skip-hash-check")
                .action(ArgAction::SetTrue)
                .help("Take a database without a digest, such as one that was copied out of a data directory"),
        )
        .arg(value("bump-revision", "N", "Raise the revision by so much").value_parser(clap::value_parser!(u64)))
        .arg(
            Arg::new("mark-compacted")
                .long("mark-compacted")
                .action(ArgAction::SetTrue)
                .help("Give up the history before the raised revision; needed with --bump-revision"),
        );
    let status = Command::new("status").about("Show what is in a snapshot").arg(file()).arg(
        Arg::new("write-out")
            .long("write-out")
            .short('w')
            .value_parser(["simple", "json", "table", "fields"])
            .default_value("simple")
            .help("How to show it"),
    );
    Command::new("snapshot")
        .about("Work with the file of a snapshot, without a server")
        .subcommand_required(true)
        .subcommand(restore)
        .subcommand(status)
}

pub fn run(matches: &ArgMatches) -> u8 {
    match matches.subcommand() {
        Some(("restore", matches)) => run_restore(matches),
        Some(("status", matches)) => run_status(matches),
        _ => MISUSED,
    }
}

fn text(matches: &ArgMatches, name: &str) -> Option<String> {
    matches.get_one::<String>(name).cloned()
}

/// What is wanted, or what is wrong with the flags.
fn plan(matches: &ArgMatches) -> Result<Restore, String> {
    let name = text(matches, "name").unwrap_or_default();
    let own = text(matches, "initial-advertise-peer-urls").unwrap_or_default();
    let own_as_cluster = || own.split(',').map(|url| format!("{name}={}", url.trim())).collect::<Vec<_>>().join(",");
    let cluster = text(matches, "initial-cluster").unwrap_or_else(own_as_cluster);
    let initial_cluster: BTreeMap<String, Vec<String>> =
        peer_urls_by_name(&cluster, &name, &own).map_err(|wrong| format!("--initial-cluster: {wrong}"))?;
    let bump = matches.get_one::<u64>("bump-revision").copied().filter(|by| *by > 0);
    match (bump, matches.get_flag("mark-compacted")) {
        (Some(_), false) => {
            return Err("--bump-revision needs --mark-compacted: what was skipped has no history".into());
        }
        (None, true) => return Err("--mark-compacted goes with --bump-revision, and with nothing else".into()),
        _ => {}
    }
    let check = if matches.get_flag("skip-hash-check") { DigestCheck::Skipped } else { DigestCheck::Required };
    Ok(Restore {
        file: PathBuf::from(text(matches, "file").unwrap_or_default()),
        check,
        data_dir: PathBuf::from(text(matches, "data-dir").unwrap_or_else(|| format!("{name}.etcd"))),
        name,
        initial_cluster,
        token: text(matches, "initial-cluster-token").unwrap_or_default(),
        bump,
    })
}

fn run_restore(matches: &ArgMatches) -> u8 {
    let plan = match plan(matches) {
        Ok(plan) => plan,
        Err(wrong) => {
            eprintln!("holdfast: {wrong}");
            return MISUSED;
        }
    };
    match restore(&Io::real(), &plan) {
        Ok(done) => {
            let imported = done.imported;
            println!(
                "restored {} to {}: revision {}, {} keys, {} leases; member {} ({}) of cluster {}",
                plan.file.display(),
                plan.data_dir.display(),
                imported.revision,
                imported.keys,
                imported.leases,
                plan.name,
                done.member,
                done.cluster,
            );
            DONE
        }
        Err(error) => {
            eprintln!("holdfast: {error}");
            NOT_STARTED
        }
    }
}

fn run_status(matches: &ArgMatches) -> u8 {
    let path = text(matches, "file").unwrap_or_default();
    // As etcdutl, it shows a database without a digest too; what has one is checked by `restore`.
    let summary = SnapshotFile::open(&RealDisk, Path::new(&path), DigestCheck::Skipped).and_then(|file| file.summary());
    match summary {
        Ok(summary) => {
            println!("{}", shown(summary, &text(matches, "write-out").unwrap_or_default()));
            DONE
        }
        Err(error) => {
            eprintln!("holdfast: {error}");
            NOT_STARTED
        }
    }
}

fn shown(summary: Summary, form: &str) -> String {
    let Summary { hash, revision, entries, bytes } = summary;
    let size = size_in_words(bytes);
    match form {
        "json" => {
            format!("{{\"hash\":{hash},\"revision\":{revision},\"totalKey\":{entries},\"totalSize\":{bytes}}}")
        }
        "fields" => format!("\"Hash\" : {hash}\n\"Revision\" : {revision}\n\"Keys\" : {entries}\n\"Size\" : {bytes}"),
        "table" => table(&[
            ("HASH", format!("{hash:x}")),
            ("REVISION", revision.to_string()),
            ("TOTAL KEYS", entries.to_string()),
            ("TOTAL SIZE", size),
        ]),
        _ => format!("{hash:x}, {revision}, {entries}, {size}"),
    }
}

fn table(columns: &[(&str, String)]) -> String {
    let width = |column: &(&str, String)| column.0.len().max(column.1.len());
    let line: String = columns.iter().map(|column| format!("+{}", "-".repeat(width(column) + 2))).collect();
    let names: String =
        columns.iter().map(|column| format!("| {:^width$} ", column.0, width = width(column))).collect();
    let values: String =
        columns.iter().map(|column| format!("| {:>width$} ", column.1, width = width(column))).collect();
    format!("{line}+\n{names}|\n{line}+\n{values}|\n{line}+")
}

/// As etcd's tools write sizes: in powers of 1000, with two digits that count.
fn size_in_words(bytes: u64) -> String {
    let mut rest = bytes as f64;
    let mut unit = "B";
    for larger in ["kB", "MB", "GB", "TB"] {
        if rest < 999.5 {
            break;
        }
        (rest, unit) = (rest / 1000.0, larger);
    }
    if rest < 9.95 && unit != "B" { format!("{rest:.1} {unit}") } else { format!("{rest:.0} {unit}") }
}

//! Runs the scripts in `node/tests/scripts/wal/`: stories of a log, told as commands (`> ...`) and what came of them.
//!
//! A script that says something else than the log does fails. After a deliberate change `UPDATE_GOLDEN=1` writes the
//! new transcripts; read the difference before committing it.
//!
//! ```text
//! open [member=N]            kill                     crash keep=none|prefix|subset seed=N
//! vote TERM NODE             append TERM A..B "TEXT"  sync    truncate TERM INDEX|all    purge TERM INDEX    prepare
//! read A..B                  fill TERM A..B "TEXT"    state   ls    mark    rewind
//! flip|zero|junk|eio  id|head|payload|entry INDEX     flip|zero|junk|eio header FIRST
//! flip|zero|delete FILE      keep FILE    restore FILE    plant FILE "TEXT"    resize FILE BYTES    rename FILE FILE
//! newer FILE                 copy id|entry INDEX over INDEX      lose FILE   misdirect FILE OFFSET   (its next write)
//! ```
//!
//! `power N` lets N more changes of the disk pass, then everything fails until the crash; `sync-fails` is for the next.
//! `mark` remembers the whole disk and `rewind` brings it back; `wipe` is a new disk. `live` in front of a harm does it
//! to the running log.
//!
//! A FILE is a name in the log's directory; `seg:N` is the segment that starts at N. Harm is done to a log that is not
//! running: `flip` and its like end the process first.

use std::collections::BTreeMap;
use std::fmt::Write;

use super::scene::{Harm, Part, Piece, Scene, segment_path};
use super::*;
use crate::env::{CrashPolicy, Disk, OpenMode, RealDisk};
use crate::types::Vote;
use crate::wal::Hole;

struct Stage {
    scene: Scene,
    kept: BTreeMap<String, Vec<u8>>,
    marked: Option<FaultyDisk>,
}

type Said = Result<String, String>;

fn words(line: &str) -> Vec<String> {
    let mut words = Vec::new();
    for (place, part) in line.split('"').enumerate() {
        match place % 2 {
            0 => words.extend(part.split_whitespace().map(String::from)),
            _ => words.push(part.to_owned()),
        }
    }
    words
}

fn number(word: &str) -> u64 {
    word.parse().unwrap_or_else(|_| panic!("{word:?} is not a number"))
}

fn range(word: &str) -> std::ops::Range<u64> {
    match word.split_once("..") {
        Some((from, to)) => number(from)..number(to),
        None => number(word)..number(word) + 1,
    }
}

fn path(word: &str) -> std::path::PathBuf {
    word.strip_prefix("seg:").map_or_else(|| Path::new(DIR).join(word), |first| segment_path(number(first)))
}

fn holes(holes: &[Hole]) -> String {
    holes.iter().map(|hole| hole.log_id().to_string()).collect::<Vec<_>>().join(" ")
}

fn show<T: std::fmt::Display>(value: Option<T>) -> String {
    value.map_or("-".to_owned(), |value| value.to_string())
}

fn show_vote(vote: Option<Vote>) -> String {
    vote.map_or("-".to_owned(), |vote| format!("term {} node {}", vote.term, vote.node))
}

impl Stage {
    fn perform(&mut self, line: &str) -> Said {
        let words = words(line);
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        match words.as_slice() {
            ["open", rest @ ..] => self.open(rest),
            ["kill"] => {
                self.scene.close();
                self.scene.disk.kill();
                Ok(String::new())
            }
            ["crash", keep, seed] => self.crash(keep, seed),
            ["state"] => Ok(self.state()),
            ["ls"] => Ok(self.scene.disk.list(Path::new(DIR)).map_err(|error| error.to_string())?.join("\n")),
            ["vote" | "append" | "sync" | "truncate" | "purge" | "prepare" | "read" | "fill", ..] => self.ask(&words),
            ["sync-fails"] => {
                self.scene.disk.fail_next_sync();
                Ok(String::new())
            }
            ["power", changes] => {
                self.scene.disk.power_off_after(number(changes));
                Ok(String::new())
            }
            ["lose", file] => {
                self.scene.disk.lose_next_write(&path(file));
                Ok(String::new())
            }
            ["misdirect", file, offset] => {
                self.scene.disk.misdirect_next_write(&path(file), number(offset));
                Ok(String::new())
            }
            ["live", rest @ ..] => {
                self.scene.look();
                self.strike(rest);
                Ok(String::new())
            }
            _ => {
                self.scene.close();
                self.scene.disk.kill();
                self.strike(&words);
                Ok(String::new())
            }
        }
    }

    fn open(&mut self, rest: &[&str]) -> Said {
        self.scene.close();
        let member = rest.first().map(|word| number(word.strip_prefix("member=").unwrap()));
        let member = member.map_or(IDENTITY.member, MemberId);
        let opened = self.scene.open_as(Identity { member, ..IDENTITY }).map_err(|error| error.to_string())?;
        let mut said = format!("{:?}", opened.origin).to_lowercase();
        for repaired in &opened.repaired {
            write!(said, "\nrepaired: {repaired}").unwrap();
        }
        if !opened.holes.is_empty() {
            write!(said, "\nholes: {}", holes(&opened.holes)).unwrap();
        }
        write!(said, "\n{}", self.state()).unwrap();
        Ok(said)
    }

    fn crash(&mut self, keep: &str, seed: &str) -> Said {
        self.scene.close();
        let policy = match keep {
            "keep=none" => CrashPolicy::LoseUnsynced,
            "keep=prefix" => CrashPolicy::KeepPrefix,
            "keep=subset" => CrashPolicy::KeepSubset,
            other => panic!("{other}"),
        };
        let disk = self.scene.disk.copy(number(seed.strip_prefix("seed=").unwrap()));
        disk.crash(policy);
        self.scene.disk = disk;
        Ok(String::new())
    }

    fn state(&self) -> String {
        let log = self.scene.log();
        let (first, last, purged) = (show(log.first()), show(log.last()), show(log.purged()));
        format!("first {first} last {last} purged {purged} vote {}", show_vote(log.vote()))
    }

    fn ask(&mut self, words: &[&str]) -> Said {
        let log = self.scene.log();
        let done = |result: Result<(), crate::wal::WalError>| {
            result.map(|()| String::new()).map_err(|error| error.to_string())
        };
        match words {
            ["vote", term, node] => {
                done(log.save_vote(Vote { term: number(term), node: number(node), committed: false }))
            }
            ["append", term, indexes, text] => {
                let entries: Vec<_> =
                    range(indexes).map(|index| entry(number(term), index, text.to_string())).collect();
                done(log.append(&entries))
            }
            ["sync"] => log.sync().map(|last| format!("durable {}", show(last))).map_err(|error| error.to_string()),
            ["truncate", "all"] => done(log.truncate_after(None)),
            ["truncate", term, index] => {
                done(log.truncate_after(Some(LogId { term: number(term), index: number(index) })))
            }
            ["purge", term, index] => done(log.purge(LogId { term: number(term), index: number(index) })),
            ["prepare"] => log.prepare_next().map(|how| format!("{how:?}")).map_err(|error| error.to_string()),
            ["read", indexes] => {
                let entries = log.read(range(indexes), usize::MAX).map_err(|error| error.to_string())?;
                let text = |entry: &RawEntry| String::from_utf8_lossy(&entry.payload).into_owned();
                Ok(entries.iter().map(|entry| format!("{} {:?}\n", entry.log_id, text(entry))).collect())
            }
            ["fill", term, indexes, text] => {
                for index in range(indexes) {
                    let entry = entry(number(term), index, text.to_string());
                    log.fill_hole(&entry).map_err(|error| error.to_string())?;
                }
                Ok(String::new())
            }
            other => panic!("no such command: {other:?}"),
        }
    }

    fn strike(&mut self, words: &[&str]) {
        let disk = self.scene.disk.clone();
        let part = |word: &str| match word {
            "id" => Part::Identifier,
            "head" => Part::Head,
            "payload" => Part::Payload,
            "entry" => Part::Frame,
            other => panic!("no such part: {other}"),
        };
        let harm = |word: &str| match word {
            "flip" => Harm::Flip,
            "zero" => Harm::Zero,
            "junk" => Harm::Junk,
            "eio" => Harm::Unreadable,
            other => panic!("no such command: {other}"),
        };
        match words {
            ["wipe"] => self.scene.disk = FaultyDisk::new(7),
            ["mark"] => self.marked = Some(disk.copy(7)),
            ["rewind"] => self.scene.disk = self.marked.as_ref().expect("nothing was marked").copy(7),
            ["delete", file] => disk.delete(&path(file)),
            ["keep", file] => {
                self.kept.insert(file.to_string(), disk.contents(&path(file)).unwrap());
            }
            ["restore", file] => disk.plant(&path(file), &self.kept[*file]),
            ["newer", file] => {
                let file = path(file);
                let mut bytes = disk.contents(&file).unwrap();
                let end = 16 + u32::from_le_bytes(bytes[12..16].try_into().unwrap()) as usize;
                bytes[8] += 1;
                let crc = crc32fast::hash(&bytes[..end]);
                bytes[end..end + 4].copy_from_slice(&crc.to_le_bytes());
                disk.overwrite(&file, 0, &bytes);
            }
            ["plant", file, text] => disk.plant(&path(file), text.as_bytes()),
            ["resize", file, bytes] => disk.resize(&path(file), number(bytes)),
            ["rename", from, to] => {
                disk.plant(&path(to), &disk.contents(&path(from)).unwrap());
                disk.delete(&path(from));
            }
            ["copy", what, from, "over", to] => {
                let bytes = self.scene.bytes(&self.scene.piece(number(from), part(what)));
                let to = self.scene.piece(number(to), part(what));
                disk.overwrite(&to.path, to.range.start, &bytes);
            }
            [how, "header", first] => {
                self.scene.harm(harm(how), &Piece { path: segment_path(number(first)), range: 0..84 });
            }
            [how, what, index] => self.scene.harm(harm(how), &self.scene.piece(number(index), part(what))),
            [how, file] => self.scene.harm(harm(how), &Piece { path: path(file), range: 0..100 }),
            other => panic!("no such command: {other:?}"),
        }
    }
}

fn transcript(script: &str) -> String {
    let mut stage = Stage { scene: Scene::new(), kept: BTreeMap::new(), marked: None };
    let mut out = String::new();
    for line in script.lines() {
        let Some(command) = line.strip_prefix("> ") else {
            if line.is_empty() || line.starts_with('#') {
                writeln!(out, "{line}").unwrap();
            }
            continue;
        };
        writeln!(out, "{line}").unwrap();
        let (said, prefix) = match stage.perform(command) {
            Ok(said) => (said, ""),
            Err(error) => (error, "error: "),
        };
        for said in said.lines() {
            writeln!(out, "{prefix}{said}").unwrap();
        }
    }
    out
}

fn run(name: &str) {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/scripts/wal").join(name).with_extension("txt");
    let script = RealDisk.open(&file, OpenMode::Read).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
    let mut bytes = vec![0; script.len().unwrap() as usize];
    script.read_exact_at(&mut bytes, 0).unwrap();
    let expected = String::from_utf8(bytes).unwrap();
    let found = transcript(&expected);
    if found != expected && std::env::var_os("UPDATE_GOLDEN").is_some() {
        let script = RealDisk.open(&file, OpenMode::ReadWrite).unwrap();
        script.set_len(0).unwrap();
        script.write_all_at(found.as_bytes(), 0).unwrap();
        return;
    }
    for (line, (found, expected)) in found.lines().zip(expected.lines()).enumerate() {
        assert_eq!(found, expected, "{name}.txt, line {}", line + 1);
    }
    assert_eq!(found.lines().count(), expected.lines().count(), "{name}.txt has another length");
}

macro_rules! scripts {
    ($($name:ident)*) => {
        $(#[test] fn $name() { run(stringify!($name)); })*
    };
}

scripts! {
    everyday
    entry_rows
    torn_tail
    chain
    segments
    vote
    identity
    filling
}

//! The museum: each planted bug must be seen, or the simulator is blind to its kind. `make museum`, or
//! `make museum EXHIBIT=vote-not-synced`.
//!
//! ```text
//!   every_exhibit_is_caught      two at a time, each exhibit in processes of its own; the table
//!     one_exhibit                the campaigns of `make sim`, seed after seed, until one of them is wrong
//! ```
//!
//! A seed that is wrong without the bug as well shows nothing of it, and is named. Each seed has a limit in real time,
//! and each exhibit a number of seeds. A seed that stands still shows nothing, and its process is given up, as nothing
//! else ends it. What the simulator itself sees, such as a cluster that spins while time stands still, is a finding
//! like any other, and so is a process that dies.
//!
//! Variables: HOLDFAST_MUSEUM_EXHIBIT (all by default), HOLDFAST_MUSEUM_SEEDS (how many an exhibit is given),
//! HOLDFAST_SIM_SEED (the first), HOLDFAST_MUSEUM_WRITE (the document that the table goes into); for `one_exhibit`,
//! HOLDFAST_MUSEUM_SHOW=1: with every log line and the timeline; HOLDFAST_MUSEUM_SOUND=1: one seed without the bug.

#![cfg(all(madsim, feature = "museum"))]

use std::collections::{BTreeMap, BTreeSet};
use std::process::{Command, exit};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use holdfast_jepsen::nemesis::{Plan, Scope};
use holdfast_jepsen::report::Violation;
use holdfast_jepsen::workload::Kind;
use holdfast_jepsen::world::sim::{self, Plant};
use holdfast_node::env::museum::{Card, EXHIBITS};
use parking_lot::Mutex;

/// As in `make sim`.
const FAULTS: Duration = Duration::from_secs(20);
const SEEDS_MAX: u64 = 300;
/// In real time. Most take half a second.
const SEED_MAX: Duration = Duration::from_secs(60);
const EXHIBIT_MAX: Duration = Duration::from_secs(20 * 60);
const AT_A_TIME: usize = 2;
/// Before a line that a child process has for its parent.
const SAYS: &str = "MUSEUM ";
const BEGIN: &str = "<!-- museum: begin -->";
const END: &str = "<!-- museum: end -->";

fn setting(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|text| !text.is_empty())
}

fn number(name: &str, default: u64) -> u64 {
    setting(name).map_or(default, |text| text.parse().unwrap_or_else(|_| panic!("{name} is {text:?}, not a number")))
}

// ---- one exhibit ----

/// What one seed showed.
struct Shown {
    troubles: Vec<Violation>,
    bug_reached: u64,
}

/// None if it stands still.
fn show(plant: Plant, seed: u64) -> Option<Shown> {
    let (say, heard) = mpsc::channel();
    std::thread::spawn(move || {
        let plan = Plan::draw(seed, &Scope { faults: FAULTS, ..Scope::default() });
        let kind = Kind::ALL[usize::try_from(seed).expect("small") % Kind::ALL.len()];
        let outcome = sim::campaign(&plan, kind, plant);
        if setting("HOLDFAST_MUSEUM_SHOW").is_some() {
            println!("{}", outcome.attempt.trace.text());
            outcome.report.iter().for_each(|report| println!("{}", report.timeline.text()));
            outcome.troubles.iter().for_each(|trouble| println!("{trouble}"));
        }
        // Nobody may be waiting any more.
        let _too_late = say.send(Shown { troubles: outcome.troubles, bug_reached: outcome.attempt.bug_reached });
    });
    heard.recv_timeout(SEED_MAX).ok()
}

fn say(what: &str, rest: &str) {
    let line: String = rest.lines().next().unwrap_or_default().chars().take(200).collect();
    println!("\n{SAYS}{what} {line}");
}

/// For the test below: which exhibit, from which seed on and to which, is in the environment.
#[test]
#[ignore = "a part of every_exhibit_is_caught"]
fn one_exhibit() {
    let name = setting("HOLDFAST_MUSEUM_EXHIBIT").expect("one is named");
    let card = EXHIBITS.iter().find(|card| card.name == name).expect("it exists");
    if number("HOLDFAST_MUSEUM_SOUND", 0) == 1 {
        let sound = show(Plant::default(), number("HOLDFAST_SIM_SEED", 1));
        say("sound", if sound.is_some_and(|sound| sound.troubles.is_empty()) { "yes" } else { "no" });
        exit(0);
    }
    let begun = Instant::now();
    for seed in number("HOLDFAST_SIM_SEED", 1)..number("HOLDFAST_MUSEUM_END", 2) {
        if begun.elapsed() > EXHIBIT_MAX {
            break;
        }
        say("begins", &seed.to_string());
        let Some(shown) = show(Plant(Some(card.exhibit)), seed) else {
            say("stuck", &seed.to_string());
            exit(0);
        };
        say("reached", &shown.bug_reached.to_string());
        if let Some(first) = shown.troubles.first() {
            if show(Plant::default(), seed).is_none_or(|sound| !sound.troubles.is_empty()) {
                say("innocent", &seed.to_string());
                continue;
            }
            let properties: BTreeSet<&str> = shown.troubles.iter().map(|trouble| &*trouble.property).collect();
            let properties: Vec<&str> = properties.into_iter().collect();
            say("seen", &format!("{seed} {}", properties.join(",")));
            say("as", &first.to_string());
            return;
        }
    }
    say("missed", "");
}

// ---- all of them ----

/// What became of one exhibit.
#[derive(Clone, Debug, Default)]
struct Catch {
    /// The seed that showed it, and what saw it there.
    seen: Option<(u64, String)>,
    seen_as: String,
    /// Seeds that stood still.
    stuck: u64,
    /// Seeds in which a node came by the bug.
    reached: u64,
    /// Seeds that are wrong without it.
    innocent: Vec<String>,
}

/// A process of `one_exhibit`, and what it says.
fn child(card: &Card, from: u64, end: u64, sound: u64) -> (String, String) {
    let output = Command::new(std::env::current_exe().expect("a running test has a file"))
        .args(["--exact", "one_exhibit", "--ignored", "--nocapture", "--test-threads=1"])
        .env("HOLDFAST_MUSEUM_EXHIBIT", card.name)
        .env("HOLDFAST_SIM_SEED", from.to_string())
        .env("HOLDFAST_MUSEUM_END", end.to_string())
        .env("HOLDFAST_MUSEUM_SOUND", sound.to_string())
        .output()
        .expect("the test can start itself");
    let [said, complained] = [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
    (said, complained)
}

fn hunt(card: &Card, first: u64, most: u64) -> Catch {
    let (begun, mut catch, mut from) = (Instant::now(), Catch::default(), first);
    while from < first + most && begun.elapsed() < EXHIBIT_MAX {
        let (text, complaint) = child(card, from, first + most, 0);
        from = first + most;
        let mut begun_last = None;
        for line in text.lines().filter_map(|line| line.strip_prefix(SAYS)) {
            let (what, rest) = line.split_once(' ').unwrap_or((line, ""));
            match what {
                "reached" if rest != "0" => catch.reached += 1,
                "seen" => {
                    let (seed, properties) = rest.split_once(' ').expect("a seed and what saw it");
                    catch.seen = Some((seed.parse().expect("a seed"), properties.replace(',', ", ")));
                }
                "innocent" => catch.innocent.push(rest.trim().to_owned()),
                "begins" => begun_last = rest.trim().parse::<u64>().ok(),
                "as" => catch.seen_as = rest.to_owned(),
                "stuck" => {
                    catch.stuck += 1;
                    from = rest.trim().parse::<u64>().expect("a seed") + 1;
                }
                _ => {}
            }
        }
        let is_told = catch.seen.is_some() || text.contains("MUSEUM missed") || text.contains("MUSEUM stuck");
        if !is_told {
            let seed = begun_last.unwrap_or_else(|| panic!("{}: no seed began:\n{complaint}", card.name));
            if child(card, seed, seed + 1, 1).0.contains("MUSEUM sound yes") {
                catch.seen = Some((seed, "panic".to_owned()));
                let why = complaint.lines().find(|line| line.contains("panicked at")).unwrap_or("it died");
                catch.seen_as = format!("the process of the run died: {why}");
            } else {
                catch.innocent.push(seed.to_string());
                from = seed + 1;
            }
        }
        if catch.seen.is_some() {
            break;
        }
    }
    catch
}

fn row(card: &Card, catch: &Catch, first: u64) -> String {
    let (seeds, by) = match &catch.seen {
        Some((seed, by)) => ((seed - first + 1).to_string(), by.clone()),
        None => ("not seen".to_owned(), String::new()),
    };
    format!("| {} | {} | {by} | {seeds} |", card.name, card.breaks)
}

/// Puts the table between its marks in a document.
fn write_into(path: &str, table: &str) {
    let text = std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{path}: {error}"));
    let (before, rest) = text.split_once(BEGIN).unwrap_or_else(|| panic!("{path} has no {BEGIN}"));
    let (_, after) = rest.split_once(END).unwrap_or_else(|| panic!("{path} has no {END}"));
    let text = format!("{before}{BEGIN}\n{table}{END}{after}");
    std::fs::write(path, text).unwrap_or_else(|error| panic!("{path}: {error}"));
}

#[test]
#[ignore = "takes minutes: make museum"]
fn every_exhibit_is_caught() {
    let first = number("HOLDFAST_SIM_SEED", 1);
    let most = number("HOLDFAST_MUSEUM_SEEDS", SEEDS_MAX);
    let wanted = setting("HOLDFAST_MUSEUM_EXHIBIT");
    let is_wanted = |card: &&Card| wanted.as_ref().is_none_or(|names| names.split(',').any(|name| name == card.name));
    let cards: Vec<&Card> = EXHIBITS.iter().filter(is_wanted).collect();
    assert!(!cards.is_empty(), "there is no exhibit {wanted:?}");
    let (next, caught) = (AtomicUsize::new(0), Mutex::new(BTreeMap::new()));
    std::thread::scope(|scope| {
        for _ in 0..AT_A_TIME {
            scope.spawn(|| {
                while let Some(card) = cards.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let catch = hunt(card, first, most);
                    println!("{}", row(card, &catch, first));
                    println!("    reached in {} seeds, {} stood still; {}", catch.reached, catch.stuck, catch.seen_as);
                    if !catch.innocent.is_empty() {
                        println!("    wrong without it, so a bug of their own: seeds {}", catch.innocent.join(" "));
                    }
                    caught.lock().insert(card.name, catch);
                }
            });
        }
    });
    let caught = caught.into_inner();
    let mut took: Vec<u64> =
        caught.values().filter_map(|catch| catch.seen.as_ref().map(|(seed, _)| seed - first + 1)).collect();
    took.sort_unstable();
    let rows: Vec<String> = cards.iter().map(|card| row(card, &caught[card.name], first)).collect();
    let sum = match took.get(took.len() / 2) {
        Some(median) => format!("{} of {} are seen; median: {median} seeds.", took.len(), cards.len()),
        None => format!("None of {} is seen.", cards.len()),
    };
    let table = format!(
        "{sum} Seeds from {first} on, at most {most} for each.\n\n| exhibit | what is planted | seen by | seeds |\n\
         |---|---|---|---|\n{}\n",
        rows.join("\n")
    );
    println!("\n{table}");
    if let Some(path) = setting("HOLDFAST_MUSEUM_WRITE") {
        write_into(&path, &table);
    }
    let missed: Vec<&str> = cards.iter().map(|card| card.name).filter(|name| caught[name].seen.is_none()).collect();
    assert!(missed.is_empty(), "not seen: {missed:?}");
}

//! The museum: each planted bug must be seen, or the simulator is blind to its kind. `make museum`, or
//! `make museum EXHIBIT=vote-not-synced`.
//!
//! Variables: HOLDFAST_MUSEUM_EXHIBIT (all by default), HOLDFAST_MUSEUM_SEEDS (how many seeds an exhibit is given),
//! HOLDFAST_SIM_SEED (the first).

#![cfg(all(madsim, feature = "museum"))]

use std::time::Duration;

use holdfast_jepsen::nemesis::{Plan, Scope};
use holdfast_jepsen::workload::Kind;
use holdfast_jepsen::world::sim::{self, Plant};
use holdfast_node::env::museum::{Card, EXHIBITS};

fn setting(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|text| !text.is_empty())
}

fn number(name: &str, default: u64) -> u64 {
    setting(name).map_or(default, |text| text.parse().unwrap_or_else(|_| panic!("{name} is {text:?}, not a number")))
}

/// How many seeds it took, and what saw it.
struct Catch {
    seeds: u64,
    seen_as: String,
}

fn hunt(card: &Card, first: u64, most: u64) -> Option<Catch> {
    let scope = Scope { faults: Duration::from_secs(20), ..Scope::default() };
    let seeds: Vec<u64> = (first..first + most).collect();
    let mut caught: Option<(u64, String)> = None;
    let run = |seed: u64| {
        let kind = Kind::ALL[usize::try_from(seed).expect("small") % Kind::ALL.len()];
        sim::campaign(&Plan::draw(seed, &scope), kind, Plant(Some(card.exhibit)))
    };
    sim::survey(&seeds, run, |seed, outcome| {
        if let Some(trouble) = outcome.troubles.first()
            && caught.as_ref().is_none_or(|(before, _)| seed < *before)
        {
            let first_line = trouble.to_string().lines().next().unwrap_or_default().to_owned();
            caught = Some((seed, first_line));
        }
        caught.is_none()
    });
    caught.map(|(seed, seen_as)| Catch { seeds: seed - first + 1, seen_as })
}

#[test]
#[ignore = "takes minutes: make museum"]
fn every_exhibit_is_caught() {
    let first = number("HOLDFAST_SIM_SEED", 1);
    let most = number("HOLDFAST_MUSEUM_SEEDS", 300);
    let wanted = setting("HOLDFAST_MUSEUM_EXHIBIT");
    let cards: Vec<&Card> =
        EXHIBITS.iter().filter(|card| wanted.as_ref().is_none_or(|name| name == card.name)).collect();
    assert!(!cards.is_empty(), "there is no exhibit {wanted:?}");
    let mut took = Vec::new();
    let mut missed = Vec::new();
    println!("| exhibit | what it breaks | seeds | seen as |\n|---|---|---|---|");
    for card in cards {
        match hunt(card, first, most) {
            Some(Catch { seeds, seen_as }) => {
                let short: String = seen_as.chars().take(100).collect();
                println!("| {} | {} | {seeds} | {} |", card.name, card.breaks, short.replace('|', "/"));
                took.push(seeds);
            }
            None => {
                println!("| {} | {} | not in {most} | |", card.name, card.breaks);
                missed.push(card.name);
            }
        }
    }
    took.sort_unstable();
    if let Some(median) = took.get(took.len() / 2) {
        println!("\n{} of {} caught; median {median} seeds", took.len(), took.len() + missed.len());
    }
    assert!(missed.is_empty(), "not caught: {missed:?}");
}

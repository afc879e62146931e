//! Swarm testing: a seed decides not only when something goes wrong but what can go wrong at all.
//!
//! A run in which everything happens at once rarely gets far enough for the subtle cases; one that knows only a few
//! classes of faults, each at its own rate, does (Groce et al., "Swarm Testing", 2012). So each seed draws the shape of
//! the cluster, its limits, a handful of classes, a rate for each, and from these a schedule. Nothing here looks at a
//! clock or a cluster: equal seeds give equal plans.

use std::fmt;
use std::time::Duration;

use super::blow::{Blow, CLOCK_DRIFT_PPM_MAX};
use super::dice::Dice;
use super::fault::Class;

/// The cluster that a plan wants.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shape {
    /// One node for each, in the zone it names.
    pub zones: Vec<String>,
    /// A snapshot after that many entries; the log is cut behind it.
    pub snapshot_entries: u64,
    /// Bytes of one segment of the log.
    pub segment_bytes: u64,
}

/// What happens when a log is cut on a member's disk, before anything is written over what was cut off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AtCuts {
    Nothing,
    /// Power goes there, for a moment. In the simulator: nobody else sees such a moment.
    PowerLoss,
}

/// What a plan may draw from.
#[derive(Clone, Debug)]
pub struct Scope {
    pub classes: Vec<Class>,
    /// How long faults go on.
    pub faults: Duration,
    /// The cluster's shape; otherwise the seed draws it.
    pub zones: Option<Vec<String>>,
}

impl Default for Scope {
    fn default() -> Self {
        Self { classes: Class::ALL.to_vec(), faults: Duration::from_secs(60), zones: None }
    }
}

/// All that a seed decides before a run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    pub seed: u64,
    pub shape: Shape,
    pub faults: Duration,
    /// In play, whether or not one of them made it into the schedule.
    pub classes: Vec<Class>,
    /// By time.
    pub blows: Vec<Blow>,
    pub at_cuts: AtCuts,
    /// Decides which nodes live in the end, and how the others fail.
    pub core_dice: u64,
    /// Clients of each workload.
    pub clients: u64,
    /// A client's longest pause between two operations.
    pub pause: Duration,
    /// How much faster or slower than true a clock of this plan may run, in millionths.
    pub clock_drift_ppm: u64,
}

const SHAPES: [&[&str]; 4] =
    [&["a", "b", "c"], &["a", "a", "b", "b", "c"], &["a", "b", "c", "d", "e"], &["a", "a", "b"]];
/// In how many of a hundred seeds each shape comes up: most are small, for speed.
const SHAPE_SHARES: [u64; 4] = [55, 20, 15, 10];
/// A class is in play in one of so many cases; each seed draws one of these.
const SPARSENESS: [u64; 4] = [2, 4, 8, 12];
/// One of so many seeds has snapshots so often, and so short a log behind them, that whoever is away needs one.
const TIGHT_SPARSENESS: u64 = 3;
const TIGHT_SNAPSHOT_ENTRIES: u64 = 10;
/// Power goes where logs are cut in one of so many seeds.
const CUT_SPARSENESS: u64 = 4;
/// Rot is in play in one of so many seeds.
const ROT_SPARSENESS: u64 = 5;

impl Plan {
    pub fn draw(seed: u64, scope: &Scope) -> Self {
        // Apart from the dice of a simulator with the same seed.
        let mut dice = Dice::new(seed ^ 0x706c_616e);
        let mut shape = shape(&mut dice, scope);
        let sparseness = *dice.one(&SPARSENESS);
        let usual: Vec<Class> = scope.classes.iter().copied().filter(|class| *class != Class::Rot).collect();
        let mut classes: Vec<Class> = usual.iter().copied().filter(|_| dice.happens(1, sparseness)).collect();
        if classes.is_empty() && !usual.is_empty() {
            classes.push(*dice.one(&usual));
        }
        let mut blows: Vec<Blow> = classes.iter().flat_map(|class| schedule(*class, scope.faults, &mut dice)).collect();
        // With dice of their own, so that seeds without these stay what they were before.
        let mut rot_dice = Dice::new(seed ^ 0x726f_7400);
        if scope.classes.contains(&Class::Rot) && (usual.is_empty() || rot_dice.happens(1, ROT_SPARSENESS)) {
            classes.push(Class::Rot);
            blows.extend(schedule(Class::Rot, scope.faults, &mut rot_dice));
        }
        if Dice::new(seed ^ 0x7469_6768).happens(1, TIGHT_SPARSENESS) {
            shape.snapshot_entries = TIGHT_SNAPSHOT_ENTRIES;
        }
        blows.sort_by_key(|blow| (blow.at, blow.class));
        let power_may_go = scope.classes.contains(&Class::PowerLoss);
        let power_goes = power_may_go && Dice::new(seed ^ 0x6375_7400).happens(1, CUT_SPARSENESS);
        let at_cuts = if power_goes { AtCuts::PowerLoss } else { AtCuts::Nothing };
        let clock_drift_ppm = if classes.contains(&Class::ClockRate) { CLOCK_DRIFT_PPM_MAX } else { 0 };
        Self {
            seed,
            shape,
            faults: scope.faults,
            classes,
            blows,
            at_cuts,
            core_dice: dice.any(),
            clients: dice.between(2, 6),
            pause: dice.between_ms(2, 60),
            clock_drift_ppm,
        }
    }

    /// A plan in which nothing goes wrong.
    pub fn calm(seed: u64, lasts: Duration) -> Self {
        Self::draw(seed, &Scope { classes: Vec::new(), faults: lasts, zones: None })
    }
}

fn shape(dice: &mut Dice, scope: &Scope) -> Shape {
    let mut left = dice.below(SHAPE_SHARES.iter().sum());
    let mut drawn = SHAPES[0];
    for (zones, share) in SHAPES.into_iter().zip(SHAPE_SHARES) {
        if left < share {
            drawn = zones;
            break;
        }
        left -= share;
    }
    let zones = scope.zones.clone().unwrap_or_else(|| drawn.iter().map(|zone| (*zone).to_owned()).collect());
    Shape {
        zones,
        snapshot_entries: *dice.one(&[50, 100, 400]),
        segment_bytes: *dice.one(&[8 * 1024, 16 * 1024, 64 * 1024]),
    }
}

/// One class over the whole time: blows at random distances, about one in every `gap`.
fn schedule(class: Class, faults: Duration, dice: &mut Dice) -> Vec<Blow> {
    let end_ms = u64::try_from(faults.as_millis()).unwrap_or(u64::MAX);
    let gap_ms = dice.between(2_000, 20_000);
    let longest_ms = dice.between(500, 12_000);
    let mut blows = Vec::new();
    let mut at_ms = dice.between(0, gap_ms);
    while at_ms < end_ms {
        let lasts = dice.between_ms(100, longest_ms);
        blows.push(Blow { at: Duration::from_millis(at_ms), class, lasts, dice: dice.any() });
        at_ms += dice.between(gap_ms / 2, gap_ms * 3 / 2);
    }
    blows
}

impl fmt::Display for Plan {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { seed, shape, faults, classes, blows, .. } = self;
        let names: Vec<&str> = classes.iter().map(|class| class.name()).collect();
        write!(
            out,
            "seed {seed}: {} nodes in zones {}, a snapshot every {} entries, {} blows in {faults:?} of: {}",
            shape.zones.len(),
            shape.zones.join(" "),
            shape.snapshot_entries,
            blows.len(),
            names.join(", "),
        )
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn plans() -> Vec<Plan> {
        (0..300).map(|seed| Plan::draw(seed, &Scope::default())).collect()
    }

    #[test]
    fn equal_seeds_give_equal_plans_and_others_others() {
        assert_eq!(plans(), plans());
        let different: BTreeSet<String> = plans().iter().map(|plan| format!("{:?}", plan.blows)).collect();
        assert_eq!(different.len(), 300);
    }

    #[test]
    fn over_many_seeds_everything_comes_up_and_never_everything_at_once() {
        let plans = plans();
        for class in Class::ALL {
            let alone = plans.iter().filter(|plan| plan.blows.iter().any(|blow| blow.class == class)).count();
            assert!(alone > 10, "{class} comes up in {alone} of 300 plans");
        }
        let shapes: BTreeSet<&[String]> = plans.iter().map(|plan| &*plan.shape.zones).collect();
        assert_eq!(shapes.len(), SHAPES.len());
        assert!(plans.iter().all(|plan| (1..Class::ALL.len()).contains(&plan.classes.len())));
    }

    #[test]
    fn blows_are_in_order_and_within_the_time_of_faults() {
        for plan in plans() {
            assert!(plan.blows.is_sorted_by_key(|blow| blow.at), "{plan}");
            assert!(
                plan.blows.iter().all(|blow| blow.at < plan.faults && plan.classes.contains(&blow.class)),
                "{plan}"
            );
        }
    }

    #[test]
    fn a_scope_is_kept() {
        let zones = Some(vec!["x".to_owned(); 3]);
        let scope = Scope { classes: vec![Class::Kill], faults: Duration::from_secs(5), zones: zones.clone() };
        let plan = Plan::draw(7, &scope);
        assert_eq!((plan.classes, Some(plan.shape.zones)), (vec![Class::Kill], zones));
        assert!(Plan::calm(7, Duration::from_secs(5)).blows.is_empty());
    }
}

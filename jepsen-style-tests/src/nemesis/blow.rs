//! A blow that was planned, and what it becomes when its time has come: only then it is known who leads.

use std::collections::BTreeSet;
use std::time::Duration;

use holdfast_node::env::CrashPolicy;

use super::cut::Cut;
use super::dice::Dice;
use super::fault::{Class, Fault, Fleet, Place, Stop, SyncFailure};
use crate::world::NodeIndex;

/// Drawn from the seed, before the cluster exists.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Blow {
    /// After the start of the faults.
    pub at: Duration,
    pub class: Class,
    pub lasts: Duration,
    /// Decides what the plan leaves open: whom it hits, how hard.
    pub dice: u64,
}

/// The cluster at the moment of a blow.
#[derive(Clone, Debug, Default)]
pub struct Scene {
    /// Of every place.
    pub zones: Vec<String>,
    /// Places whose nodes belong to the cluster.
    pub members: Vec<NodeIndex>,
    pub leader: Option<NodeIndex>,
    /// A change of members stands, or something that ends with one, and the next one waits.
    pub membership_is_busy: bool,
}

/// Fewer are not taken apart by removing one.
const MEMBERS_MIN: usize = 3;
const MEMBERS_MAX: usize = 7;
const WALL_JUMP_MS_MAX: u64 = 60_000;
/// By how much a clock may run too fast or too slow, in millionths.
pub(super) const CLOCK_DRIFT_PPM_MAX: u64 = 100_000;

impl Blow {
    /// The fault, or none where the scene has no room for it.
    pub fn aim(&self, scene: &Scene) -> Option<Fault> {
        let mut dice = Dice::new(self.dice);
        if scene.members.is_empty() {
            return None;
        }
        let node = target(scene, &mut dice);
        match self.class {
            Class::Isolate
            | Class::OneWay
            | Class::Sides
            | Class::Ring
            | Class::Bridge
            | Class::Zone
            | Class::Clients
            | Class::Flap => cut(self.class, scene, node, &mut dice).map(Fault::Partition),
            Class::Loss => Some(Fault::Loss { per_mille: per_mille(&mut dice, 10, 300) }),
            Class::Delay => {
                let most = dice.between_ms(5, 300);
                Some(Fault::Delay { least: most / 10, most })
            }
            Class::Duplicate => Some(Fault::Duplicate { per_mille: per_mille(&mut dice, 10, 200) }),
            Class::Reorder => {
                let per_mille = per_mille(&mut dice, 50, 500);
                Some(Fault::Reorder { per_mille, hold: dice.between_ms(5, 200) })
            }
            Class::SlowDisk => Some(Fault::SlowDisk { node, longest: dice.between_ms(10, 1_500) }),
            Class::HungDisk => Some(Fault::HungDisk { node }),
            Class::FailWrites => Some(Fault::FailWrites { node }),
            Class::FailSync => {
                let when = if dice.happens(1, 2) { SyncFailure::Once } else { SyncFailure::Always };
                Some(Fault::FailSync { node, when })
            }
            Class::FullDisk => Some(Fault::FullDisk { node }),
            Class::MemberAdd | Class::LearnerAdd | Class::MemberRemove => members(self.class, scene, node, &mut dice),
            Class::MoveLeader => {
                let others: Vec<_> =
                    scene.members.iter().copied().filter(|other| Some(*other) != scene.leader).collect();
                (!others.is_empty()).then(|| Fault::MoveLeader { to: *dice.one(&others) })
            }
            Class::RollingRestart => {
                let settings = if dice.happens(1, 2) { Fleet::Mixed } else { Fleet::Alike };
                Some(Fault::RollingRestart { settings })
            }
            // It ends with a change of members.
            Class::Rot => (!scene.membership_is_busy).then_some(Fault::Rot { node, place: Place::Log }),
            Class::Kill
            | Class::KillMany
            | Class::Pause
            | Class::PowerLoss
            | Class::PowerLossOfAll
            | Class::Restart
            | Class::ClockRate
            | Class::ClockJump => Some(machine(self.class, scene, node, &mut dice)),
        }
    }
}

/// The leader more often than its share.
fn target(scene: &Scene, dice: &mut Dice) -> NodeIndex {
    match scene.leader.filter(|leader| scene.members.contains(leader)) {
        Some(leader) if dice.happens(1, 2) => leader,
        _ => *dice.one(&scene.members),
    }
}

fn per_mille(dice: &mut Dice, least: u64, most: u64) -> u16 {
    u16::try_from(dice.between(least, most)).expect("at most 1000")
}

fn cut(class: Class, scene: &Scene, node: NodeIndex, dice: &mut Dice) -> Option<Cut> {
    let nodes = scene.zones.len();
    let minority = (scene.members.len() - 1) / 2;
    let some_side = |dice: &mut Dice| -> BTreeSet<NodeIndex> {
        let others: Vec<_> = scene.members.iter().copied().filter(|other| *other != node).collect();
        // With the target on the smaller side, so that a leader is left behind as often as not.
        dice.some(&others, minority.saturating_sub(1)).into_iter().chain([node]).collect()
    };
    match class {
        Class::OneWay => Some(if dice.happens(1, 2) { Cut::deaf(node, nodes) } else { Cut::mute(node, nodes) }),
        Class::Sides => Some(Cut::sides(&some_side(dice), nodes)),
        Class::Ring => Some(Cut::ring(&dice.shuffled(&scene.members), nodes)),
        Class::Bridge => {
            let others: Vec<_> = scene.members.iter().copied().filter(|other| *other != node).collect();
            let side = dice.some(&others, others.len() / 2).into_iter().collect();
            Some(Cut::bridge(node, &side, nodes))
        }
        Class::Zone => Some(Cut::zone(&scene.zones[node], &scene.zones)),
        Class::Clients => {
            let count = 1 + dice.index(scene.members.len());
            Some(Cut::from_clients(dice.some(&scene.members, count).into_iter().collect()))
        }
        Class::Flap => Some(match dice.below(3) {
            0 => Cut::isolate(node, nodes),
            1 => Cut::mute(node, nodes),
            _ => Cut::sides(&some_side(dice), nodes),
        }),
        _ => Some(Cut::isolate(node, nodes)),
    }
}

fn members(class: Class, scene: &Scene, node: NodeIndex, dice: &mut Dice) -> Option<Fault> {
    let count = scene.members.len();
    if scene.membership_is_busy {
        return None;
    }
    let zone = dice.one(&scene.zones).clone();
    match class {
        Class::MemberRemove => (count > MEMBERS_MIN).then_some(Fault::MemberRemove { node }),
        _ if count >= MEMBERS_MAX => None,
        Class::LearnerAdd => Some(Fault::LearnerAdd { zone }),
        _ => Some(Fault::MemberAdd { zone }),
    }
}

fn machine(class: Class, scene: &Scene, node: NodeIndex, dice: &mut Dice) -> Fault {
    match class {
        Class::KillMany => {
            let count = 2 + dice.index(scene.members.len().saturating_sub(1).max(1));
            Fault::Kill { nodes: dice.some(&scene.members, count) }
        }
        Class::Pause => Fault::Pause { nodes: vec![node] },
        Class::PowerLoss => Fault::PowerLoss { nodes: vec![node], left: policy(dice) },
        Class::PowerLossOfAll => Fault::PowerLoss { nodes: scene.members.clone(), left: policy(dice) },
        Class::Restart => {
            let stop = if dice.happens(1, 2) { Stop::InOrder } else { Stop::Killed };
            Fault::Restart { node, stop }
        }
        Class::ClockRate => {
            let ppm = 1_000_000 - CLOCK_DRIFT_PPM_MAX + dice.below(2 * CLOCK_DRIFT_PPM_MAX + 1);
            Fault::ClockRate { node, ppm }
        }
        Class::ClockJump => {
            let ms = i64::try_from(dice.below(2 * WALL_JUMP_MS_MAX + 1)).expect("small") - WALL_JUMP_MS_MAX as i64;
            Fault::ClockJump { node, ms }
        }
        _ => Fault::Kill { nodes: vec![node] },
    }
}

fn policy(dice: &mut Dice) -> CrashPolicy {
    *dice.one(&[CrashPolicy::LoseUnsynced, CrashPolicy::KeepPrefix, CrashPolicy::KeepSubset])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scene() -> Scene {
        let zones = ["a", "a", "b", "b", "c"].map(str::to_owned).to_vec();
        Scene { zones, members: (0..5).collect(), leader: Some(3), membership_is_busy: false }
    }

    fn aimed(class: Class, scene: &Scene) -> Vec<Fault> {
        let blow = |dice| Blow { at: Duration::ZERO, class, lasts: Duration::ZERO, dice };
        (0..200).filter_map(|dice| blow(dice).aim(scene)).collect()
    }

    #[test]
    fn every_class_becomes_a_fault_and_the_same_one_again() {
        for class in Class::ALL {
            let faults = aimed(class, &scene());
            assert!(!faults.is_empty(), "{class} is never struck");
            assert_eq!(faults, aimed(class, &scene()));
            assert_eq!(Class::by_name(class.name()), Some(class));
        }
    }

    #[test]
    fn the_leader_is_hit_often_and_not_always() {
        let hits =
            aimed(Class::Kill, &scene()).iter().filter(|fault| **fault == Fault::Kill { nodes: vec![3] }).count();
        assert!((100..150).contains(&hits), "{hits} of 200");
    }

    #[test]
    fn members_are_left_alone_where_there_is_no_room() {
        let busy = Scene { membership_is_busy: true, ..scene() };
        let small = Scene { members: vec![0, 1, 2], ..scene() };
        let full = Scene { members: (0..7).collect(), ..scene() };
        assert!(aimed(Class::MemberAdd, &busy).is_empty() && aimed(Class::MemberRemove, &busy).is_empty());
        assert!(aimed(Class::MemberRemove, &small).is_empty() && !aimed(Class::MemberAdd, &small).is_empty());
        assert!(aimed(Class::LearnerAdd, &full).is_empty());
    }

    #[test]
    fn sides_leave_a_majority_whole() {
        for fault in aimed(Class::Sides, &scene()) {
            let Fault::Partition(cut) = fault else { panic!("{fault}") };
            let heard = |node| (0..5).filter(|from| !cut.links.contains(&(*from, node))).count();
            assert!((0..5).any(|node| heard(node) >= 3), "{cut}: nobody hears a majority");
        }
    }
}

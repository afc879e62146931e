//! The plan carried out: each blow at its time, each end at its own.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use holdfast_node::rt;

use crate::nemesis::{Blow, Class, Cut, Dice, Fault, Plan, Scene, Standing};
use crate::report::{Hits, Timeline};
use crate::world::{NodeIndex, Struck, World};

/// A strike that takes longer is left to itself: a world bounds its own waits, and this only guards the run.
const STRIKE_MAX: Duration = Duration::from_secs(120);
const FLAP_MS_LEAST: u64 = 100;
const FLAP_MS_MOST: u64 = 1_500;

enum Step {
    Strike(Blow),
    Lift(Fault),
    /// A link that flaps is cut now, and so on until then.
    FlapDown {
        fault: Fault,
        half: Duration,
        until: Duration,
    },
    FlapUp {
        fault: Fault,
        half: Duration,
        until: Duration,
    },
}

pub struct Strikes {
    world: Arc<dyn World>,
    timeline: Timeline,
    /// By time, and among equal times by order of planning.
    agenda: BTreeMap<(Duration, u64), Step>,
    planned: u64,
    standing: Standing,
    hits: BTreeMap<Class, Hits>,
    excused: BTreeSet<NodeIndex>,
}

impl Strikes {
    pub fn new(world: Arc<dyn World>, timeline: Timeline) -> Self {
        Self {
            world,
            timeline,
            agenda: BTreeMap::new(),
            planned: 0,
            standing: Standing::default(),
            hits: BTreeMap::new(),
            excused: BTreeSet::new(),
        }
    }

    pub fn into_hits(self) -> BTreeMap<Class, Hits> {
        self.hits
    }

    /// Nodes that a fault may have made stop by themselves.
    pub fn excused(&self) -> impl Iterator<Item = NodeIndex> {
        self.excused.iter().copied()
    }

    fn say(&self, what: impl Into<String>) {
        let what = what.into();
        self.world.say(&what);
        self.timeline.say("nemesis", what);
    }

    fn plan(&mut self, at: Duration, step: Step) {
        self.planned += 1;
        self.agenda.insert((at, self.planned), step);
    }

    /// All blows of the plan. What stands when its time is over goes on standing.
    pub async fn carry_out(&mut self, plan: &Plan) {
        let begun = rt::now();
        for blow in &plan.blows {
            self.plan(blow.at, Step::Strike(blow.clone()));
        }
        while let Some(entry) = self.agenda.first_entry() {
            let at = entry.key().0;
            // Over processes a strike takes its time too; what is late by then is left out.
            if at >= plan.faults || rt::since(begun) >= plan.faults {
                break;
            }
            let step = entry.remove();
            rt::sleep(at.saturating_sub(rt::since(begun))).await;
            match step {
                Step::Strike(blow) => self.strike(&blow).await,
                Step::Lift(fault) => self.lift(&fault).await,
                Step::FlapDown { fault, half, until } => {
                    self.begin(&fault).await;
                    self.plan(at + half, Step::FlapUp { fault, half, until });
                }
                Step::FlapUp { fault, half, until } => {
                    self.lift(&fault).await;
                    if at + half < until {
                        self.plan(at + half, Step::FlapDown { fault, half, until });
                    }
                }
            }
        }
        self.agenda.clear();
        rt::sleep(plan.faults.saturating_sub(rt::since(begun))).await;
    }

    async fn scene(&self) -> Scene {
        let membership = |fault: &Fault| {
            matches!(
                fault,
                Fault::MemberAdd { .. } | Fault::LearnerAdd { .. } | Fault::MemberRemove { .. } | Fault::Rot { .. }
            )
        };
        Scene {
            zones: (0..self.world.nodes()).map(|node| self.world.zone(node)).collect(),
            members: self.world.members(),
            leader: self.world.leader().await,
            membership_is_busy: self.standing.faults().iter().any(membership),
        }
    }

    async fn strike(&mut self, blow: &Blow) {
        let Some(fault) = blow.aim(&self.scene().await) else {
            self.hits.entry(blow.class).or_default().passed_over += 1;
            return;
        };
        let struck = self.begin(&fault).await;
        let hits = self.hits.entry(blow.class).or_default();
        match struck {
            Struck::NotHere => hits.passed_over += 1,
            Struck::Done if blow.class == Class::Flap => {
                hits.struck += 1;
                let half = Dice::new(blow.dice).between_ms(FLAP_MS_LEAST, FLAP_MS_MOST);
                self.plan(blow.at + half, Step::FlapUp { fault, half, until: blow.at + blow.lasts });
            }
            Struck::Done => {
                hits.struck += 1;
                if !is_over_at_once(&fault) {
                    self.plan(blow.at + blow.lasts, Step::Lift(fault));
                }
            }
        }
    }

    async fn begin(&mut self, fault: &Fault) -> Struck {
        self.say(format!("begins: {fault}"));
        match rt::timeout(STRIKE_MAX, self.world.strike(fault)).await {
            Ok(Struck::Done) => {}
            Ok(Struck::NotHere) => {
                self.say(format!("not here: {fault}"));
                return Struck::NotHere;
            }
            Err(_) => self.say(format!("not done after {STRIKE_MAX:?}: {fault}")),
        }
        if !is_over_at_once(fault) {
            self.standing.begin(fault);
        }
        self.excused.extend((0..self.world.nodes()).filter(|node| self.standing.may_stop(*node)));
        Struck::Done
    }

    async fn lift(&mut self, fault: &Fault) {
        self.standing.end(fault);
        if rt::timeout(STRIKE_MAX, self.world.lift(fault)).await.is_err() {
            self.say(format!("not ended after {STRIKE_MAX:?}: {fault}"));
        }
        self.say(format!("ends: {fault}"));
    }

    /// Ends everything.
    pub async fn heal(&mut self) {
        self.standing.end_all();
        if rt::timeout(STRIKE_MAX, self.world.heal()).await.is_err() {
            self.say(format!("not healed after {STRIKE_MAX:?}"));
        }
    }

    /// Lets a minority fail for good, each in its own way. Returns the others. To be called when all is healed and
    /// every member votes: half of the members is no minority of fewer voters.
    pub async fn leave_a_core(&mut self, core_dice: u64) -> Vec<NodeIndex> {
        let mut dice = Dice::new(core_dice);
        let members = self.world.members();
        let outside = dice.some(&members, (members.len() - 1) / 2);
        for node in &outside {
            let fault = for_good(*node, self.world.nodes(), &mut dice);
            if self.begin(&fault).await == Struck::NotHere {
                self.begin(&Fault::Kill { nodes: vec![*node] }).await;
            }
        }
        members.into_iter().filter(|node| !outside.contains(node)).collect()
    }
}

fn is_over_at_once(fault: &Fault) -> bool {
    matches!(
        fault,
        Fault::Restart { .. } | Fault::ClockJump { .. } | Fault::MoveLeader { .. } | Fault::RollingRestart { .. }
    )
}

/// Ways in which a node can be of no use, and some in which it is a nuisance.
fn for_good(node: NodeIndex, nodes: usize, dice: &mut Dice) -> Fault {
    match dice.below(6) {
        0 => Fault::Kill { nodes: vec![node] },
        1 => Fault::Pause { nodes: vec![node] },
        2 => Fault::Partition(Cut::isolate(node, nodes)),
        3 => Fault::Partition(Cut::deaf(node, nodes)),
        4 => Fault::Partition(Cut::mute(node, nodes)),
        _ => Fault::HungDisk { node },
    }
}

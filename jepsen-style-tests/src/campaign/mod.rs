//! One run: a world, a plan and a workload, and what came of it.
//!
//! ```text
//!   safety    clients work, the plan's blows fall and end                         members are sampled all the while
//!   liveness  all faults end but those of a minority, which now fail for good;
//!             within a minute the core has a leader, takes writes, and is equal
//!   the end   everything is healed: all members become equal, what was promised is there, histories are judged
//! ```
//!
//! Phases and limits are in the clients' time.

mod content;
mod liveness;
mod strikes;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;
use holdfast_node::rt;
use parking_lot::Mutex;

use crate::checker::log_matching::{self, Applied};
use crate::checker::monotonic::{self, Sighting};
use crate::nemesis::{Class, Plan};
use crate::report::{Report, Timeline, Violation};
use crate::workload::{Kind, Stage, Workload};
use crate::world::{NodeIndex, World, among_clients};

use strikes::Strikes;

/// How long the cluster may take to elect, at first and after everything is healed.
const FIRST_LEADER: Duration = Duration::from_secs(60);
/// How long clients may take to come to an end: more than the longest call of any workload.
const CLIENTS_END: Duration = Duration::from_secs(60);
/// ... and for a last look at everything.
const LAST_LOOK: Duration = Duration::from_secs(120);
/// How long after its disk has room again a member may still raise an alarm that it had asked for, and end it: the
/// longest proposal, and three looks at the disk. A member that is struck down before keeps the cluster from writing.
const LATE_ALARM: Duration = Duration::from_secs(10);
const SAMPLE_EVERY: Duration = Duration::from_millis(250);
const VIOLATIONS_SHOWN: usize = 10;

/// What a run gathers besides the workload's own histories.
struct Run {
    world: Arc<dyn World>,
    stage: Stage,
    violations: Vec<Violation>,
    notes: Vec<String>,
    /// Nodes that a fault may have stopped: their stopping is no news.
    excused: BTreeSet<NodeIndex>,
    samples: Arc<Mutex<Samples>>,
}

/// What members said of themselves, in the order in which they were asked.
#[derive(Default)]
struct Samples {
    sightings: Vec<Sighting>,
    applied: Vec<Applied>,
}

/// Runs a plan with a workload. The world's cluster has been started, and is left healed.
pub async fn run(world: Arc<dyn World>, plan: &Plan, kind: Kind) -> Report {
    let timeline = Timeline::begin();
    let stage = Stage::new(Arc::clone(&world), plan, timeline.clone());
    timeline.say("campaign", format!("{}; {plan}", kind.name()));
    let workload = kind.build(&stage);
    let mut run = Run {
        world,
        stage,
        violations: Vec::new(),
        notes: Vec::new(),
        excused: BTreeSet::new(),
        samples: Arc::default(),
    };
    let mut strikes = Strikes::new(Arc::clone(&run.world), timeline.clone());
    if run.wait_first_leader().await {
        run.safety(plan, &mut strikes, &*workload).await;
        run.liveness(plan, &mut strikes).await;
        run.the_end(&mut strikes, &*workload).await;
    }
    let Run { mut violations, notes, stage, .. } = run;
    violations.extend(stage.objections().iter().map(|what| Violation::of("answers", what)));
    for violation in &violations {
        timeline.say("VIOLATION", violation.to_string());
    }
    Report {
        seed: plan.seed,
        workload: kind.name().to_owned(),
        plan: plan.to_string(),
        tally: workload.tally(),
        hits: strikes.into_hits(),
        notes: notes.into_iter().chain(workload.notes()).collect(),
        violations,
        timeline,
    }
}

impl Run {
    fn say(&self, what: impl Into<String>) {
        let what = what.into();
        self.world.say(&what);
        self.stage.timeline.say("campaign", what);
    }

    fn violate(&mut self, violation: Violation) {
        self.say(format!("VIOLATION {violation}"));
        self.violations.push(violation);
    }

    async fn wait_first_leader(&mut self) -> bool {
        let begun = rt::now();
        while rt::since(begun) < FIRST_LEADER {
            if self.world.leader().await.is_some() {
                return true;
            }
            rt::sleep(Duration::from_millis(50)).await;
        }
        self.violate(Violation::of("liveness", format!("no leader within {FIRST_LEADER:?} of the start")));
        false
    }

    /// Clients and blows, to the end of both.
    async fn safety(&mut self, plan: &Plan, strikes: &mut Strikes, workload: &dyn Workload) {
        let mut tasks: Vec<rt::JoinHandle<()>> =
            workload.clients(&self.stage).into_iter().map(|client| self.world.spawn(client)).collect();
        tasks.push(self.world.spawn(sample(Arc::clone(&self.world), Arc::clone(&self.samples), self.stage.clone())));
        strikes.carry_out(plan).await;
        self.look_for_stopped(strikes);
        self.stage.end();
        self.say("the time of faults is over");
        let ends = rt::timeout(CLIENTS_END, futures::future::join_all(tasks)).await;
        match ends {
            Err(_) => self.violate(Violation::of("clients", format!("one still works {CLIENTS_END:?} after the end"))),
            Ok(ends) => {
                for error in ends.into_iter().filter_map(Result::err) {
                    self.violate(Violation::of("clients", format!("one panicked: {error}")));
                }
            }
        }
    }

    /// A node may stop by itself where a fault of its disk gave it the reason, and nowhere else.
    fn look_for_stopped(&mut self, strikes: &Strikes) {
        self.excused.extend(strikes.excused());
        for (node, reason) in self.world.stopped_by_themselves() {
            let what = format!("n{} stopped by itself: {reason}", node + 1);
            if self.excused.contains(&node) {
                self.say(what);
            } else {
                self.violate(Violation::of("stopped", what));
            }
        }
    }

    async fn liveness(&mut self, plan: &Plan, strikes: &mut Strikes) {
        strikes.heal().await;
        if plan.classes.contains(&Class::FullDisk) {
            rt::sleep(LATE_ALARM).await;
        }
        if let Err(what) = liveness::wait_settled(&self.world).await {
            self.violate(Violation::of("liveness", what));
            return;
        }
        let core = strikes.leave_a_core(plan.core_dice).await;
        let names: Vec<String> = core.iter().map(|node| format!("n{}", node + 1)).collect();
        self.say(format!("the core is {}", names.join(" ")));
        match liveness::wait_equal(&self.world, core).await {
            Ok(took) => self.notes.push(format!("core alive after {:.1} s", took.as_secs_f64())),
            Err(what) => self.violate(Violation::of("liveness", what)),
        }
        self.look_for_stopped(strikes);
    }

    async fn the_end(&mut self, strikes: &mut Strikes, workload: &dyn Workload) {
        strikes.heal().await;
        self.say("everything is healed");
        let members = self.world.members();
        match liveness::wait_equal(&self.world, members.clone()).await {
            Ok(took) => self.say(format!("all are equal after {took:?}")),
            Err(what) => self.violate(Violation::of("convergence", what)),
        }
        self.look_for_stopped(strikes);
        let last_look: BoxFuture<'static, ()> = workload.last_look(&self.stage);
        if rt::timeout(LAST_LOOK, among_clients(&self.world, last_look)).await.is_err() {
            self.violate(Violation::of("clients", format!("the last look took longer than {LAST_LOOK:?}")));
        }
        let promises = self.stage.promises.lock().clone();
        let (kept, lost) = content::check(&self.world, members, promises).await;
        self.notes.push(format!("{kept} promises kept"));
        let mut found: Vec<Violation> = lost.into_iter().map(|what| Violation::of("durability", what)).collect();
        found.truncate(VIOLATIONS_SHOWN);
        found.extend(self.samples.lock().judge());
        found.extend(workload.judge());
        found.into_iter().for_each(|violation| self.violate(violation));
    }
}

impl Samples {
    fn judge(&self) -> Vec<Violation> {
        let odd = monotonic::check(&self.sightings).into_iter().take(VIOLATIONS_SHOWN);
        let odd = odd.map(|violation| Violation::of("monotonic", shown(&violation, &self.sightings)));
        let parted = log_matching::check(&self.applied).into_iter().take(VIOLATIONS_SHOWN);
        odd.chain(parted.map(|violation| Violation::of("log_matching", violation))).collect()
    }
}

fn shown(violation: &monotonic::Violation, seen: &[Sighting]) -> String {
    let [one, other] = match violation {
        monotonic::Violation::TermWentBack { sightings }
        | monotonic::Violation::RevisionWentBack { sightings }
        | monotonic::Violation::TwoLeaders { sightings, .. } => *sightings,
    };
    format!("{violation:?}: {:?}, then {:?}", seen[one], seen[other])
}

/// Asks all members how they stand, until clients have ended.
fn sample(world: Arc<dyn World>, into: Arc<Mutex<Samples>>, stage: Stage) -> BoxFuture<'static, ()> {
    Box::pin(async move {
        while !stage.is_over() {
            let seen = world.sightings().await;
            {
                let mut samples = into.lock();
                samples.sightings.extend(seen);
                samples.applied.extend(world.applied());
            }
            rt::sleep(SAMPLE_EVERY).await;
        }
    })
}

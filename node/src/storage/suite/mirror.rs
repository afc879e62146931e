//! The two engines side by side: random stories, run in step, every answer compared.

use std::ops::ControlFlow;
use std::path::PathBuf;
use std::sync::Arc;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use super::{Bench, Kind};
use crate::storage::{Batch, Column, Engine, Scan, View};

const SEEDS: u64 = 240;
const STEPS: usize = 60;

/// Both engines, at the same point of the same story.
struct Pair {
    /// Declared before the directories they live in, so that they are closed before those go.
    engines: [Arc<dyn Engine>; 2],
    benches: [Bench; 2],
    /// Where both states live, below each bench's directory. A story may move on to a checkpoint.
    home: String,
}

impl Pair {
    fn new() -> Self {
        let benches = Kind::ALL.map(Bench::in_memory);
        let engines = benches.each_ref().map(Bench::open);
        Self { benches, engines, home: "state".to_owned() }
    }

    fn write(&self, batch: &Batch) {
        self.engines.iter().for_each(|engine| engine.write(batch.clone()).unwrap());
    }

    fn reopen(mut self) -> Self {
        self.engines.iter().for_each(|engine| engine.flush().unwrap());
        let Self { benches, engines, home } = self;
        drop(engines);
        let engines = benches.each_ref().map(|bench| bench.open_at(&bench.path(&home)));
        self = Self { benches, engines, home };
        self
    }

    /// Takes a checkpoint, and goes on in it.
    fn move_to_checkpoint(self, name: &str) -> Self {
        let dirs: [PathBuf; 2] = self.benches.each_ref().map(|bench| bench.path(name));
        for (engine, dir) in self.engines.iter().zip(&dirs) {
            engine.checkpoint(dir).unwrap();
        }
        let Self { benches, engines, .. } = self;
        drop(engines);
        let engines = benches.each_ref().map(|bench| bench.open_at(&bench.path(name)));
        Self { benches, engines, home: name.to_owned() }
    }
}

/// Few and short keys, so that stories meet themselves again; every byte value, so that order is put to the test.
fn key(rng: &mut StdRng) -> Vec<u8> {
    let length = rng.random_range(0..4);
    (0..length).map(|_| *[0x00, 0x01, b'a', b'b', 0x7f, 0x80, 0xff].get(rng.random_range(0..7)).unwrap()).collect()
}

fn value(rng: &mut StdRng) -> Vec<u8> {
    let length = if rng.random_ratio(1, 20) { 20_000 } else { rng.random_range(0..40) };
    (0..length).map(|_| rng.random()).collect()
}

fn column(rng: &mut StdRng) -> Column {
    Column::ALL[rng.random_range(0..Column::ALL.len())]
}

fn batch(rng: &mut StdRng) -> Batch {
    let mut batch = Batch::default();
    for _ in 0..rng.random_range(0..12) {
        if rng.random_ratio(2, 3) {
            batch.put(column(rng), key(rng), value(rng));
        } else {
            batch.delete(column(rng), key(rng));
        }
    }
    batch
}

/// All rows a scan visits, up to `limit`.
fn rows(view: &dyn View, column: Column, scan: Scan<'_>, limit: usize) -> Vec<(Vec<u8>, Vec<u8>)> {
    let mut rows = Vec::new();
    let mut visit = |key: &[u8], value: &[u8]| {
        rows.push((key.to_vec(), value.to_vec()));
        if rows.len() < limit { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    };
    view.scan(column, scan, &mut visit).unwrap();
    rows
}

fn compare_some(pair: &Pair, rng: &mut StdRng, place: &str) {
    let [left, right] = pair.engines.each_ref().map(|engine| engine.view());
    for _ in 0..rng.random_range(1..6) {
        let column = column(rng);
        let (from, end) = (key(rng), key(rng));
        assert_eq!(left.get(column, &from).unwrap(), right.get(column, &from).unwrap(), "{place}: get {from:x?}");
        let to = rng.random_bool(0.7).then_some(end.as_slice());
        let scan = Scan { from: &from, to, backwards: rng.random() };
        let limit = rng.random_range(1..30);
        let (left, right) = (rows(&*left, column, scan, limit), rows(&*right, column, scan, limit));
        assert_eq!(left, right, "{place}: {column:?} {scan:x?}");
    }
}

fn compare_all(pair: &Pair, place: &str) {
    let [left, right] = pair.engines.each_ref().map(|engine| engine.view());
    for column in Column::ALL {
        for backwards in [false, true] {
            let scan = Scan { from: b"", to: None, backwards };
            let [left, right] = [&left, &right].map(|view| rows(&**view, column, scan, usize::MAX));
            assert_eq!(left, right, "{place}: {column:?}");
        }
    }
}

fn tell(seed: u64) {
    let mut rng = StdRng::seed_from_u64(seed);
    let mut pair = Pair::new();
    for step in 0..STEPS {
        let place = format!("seed {seed}, step {step}");
        match rng.random_range(0..100) {
            0..60 => pair.write(&batch(&mut rng)),
            60..90 => compare_some(&pair, &mut rng, &place),
            90..94 => pair.engines.iter().for_each(|engine| engine.flush().unwrap()),
            94..96 => pair.engines.iter().for_each(|engine| engine.reclaim().unwrap()),
            96..98 => pair = pair.move_to_checkpoint(&format!("checkpoint-{step}")),
            _ => pair = pair.reopen(),
        }
    }
    compare_all(&pair, &format!("seed {seed}, at the end"));
    pair.engines.iter().for_each(|engine| engine.verify().unwrap());
}

#[test]
fn the_engines_give_the_same_answers() {
    std::thread::scope(|scope| {
        for half in 0..2 {
            scope.spawn(move || (0..SEEDS).filter(|seed| seed % 2 == half).for_each(tell));
        }
    });
}

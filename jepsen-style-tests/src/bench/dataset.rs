//! Keys, values, and the requests made of them. A client's requests follow from the seed, the round and its number
//! alone, so every contender is asked the same things in the same order.
//!
//! Values are slices of one block of noise, at random places: nothing to compress, and nothing to copy. A key names the
//! size of its value, `bench/4096/00000017`, so that the server that stores nothing can answer a get.

use std::sync::Arc;

use bytes::Bytes;
use holdfast_proto::etcdserverpb::{PutRequest, RangeRequest};
use rand::rngs::SmallRng;
use rand::{Rng, RngExt, SeedableRng};

use crate::bench::args::{Cell, Workload};

/// Long against what a server compresses at a time, short against memory.
const NOISE_BYTES: usize = 4 * 1024 * 1024;
const MIXED_PUT_PERCENT: u32 = 20;

/// All keys of one value size.
pub struct Dataset {
    pub value_bytes: u32,
    keys: Vec<Bytes>,
    noise: Bytes,
    seed: u64,
}

pub enum Request {
    Put(PutRequest),
    Get(RangeRequest),
}

impl Dataset {
    pub fn new(keys: u32, value_bytes: u32, seed: u64) -> Arc<Self> {
        let mut noise = vec![0; NOISE_BYTES + value_bytes as usize];
        SmallRng::seed_from_u64(seed).fill_bytes(&mut noise);
        let keys = (0..keys).map(|number| format!("bench/{value_bytes}/{number:08}").into()).collect();
        Arc::new(Self { value_bytes, keys, noise: noise.into(), seed })
    }

    /// The first content of the store: every `stride`th key from `first` on.
    pub fn fill(self: &Arc<Self>, first: usize, stride: usize) -> impl Iterator<Item = PutRequest> + Send + use<> {
        let dataset = Arc::clone(self);
        let mut rng = SmallRng::seed_from_u64(self.seed ^ first as u64);
        (first..self.keys.len()).step_by(stride).map(move |at| PutRequest {
            key: dataset.keys[at].clone(),
            value: dataset.value(&mut rng),
            ..PutRequest::default()
        })
    }

    pub fn requests(self: &Arc<Self>, cell: &Cell, round: u32, client: u32) -> Requests {
        let stream = (u64::from(round) << 32) | u64::from(client);
        let seed = self.seed.wrapping_mul(0x9e37_79b9_7f4a_7c15).wrapping_add(stream);
        Requests { dataset: Arc::clone(self), workload: cell.workload, rng: SmallRng::seed_from_u64(seed) }
    }

    fn value(&self, rng: &mut SmallRng) -> Bytes {
        let from = rng.random_range(0..NOISE_BYTES);
        self.noise.slice(from..from + self.value_bytes as usize)
    }
}

/// What the server that stores nothing answers to a get of this key; `None` for a key of somebody else.
pub fn value_bytes_of(key: &[u8]) -> Option<usize> {
    let mut parts = std::str::from_utf8(key).ok()?.split('/');
    (parts.next()? == "bench").then_some(())?;
    parts.next()?.parse().ok()
}

/// The endless requests of one client.
pub struct Requests {
    dataset: Arc<Dataset>,
    workload: Workload,
    rng: SmallRng,
}

impl Requests {
    pub fn draw(&mut self) -> Request {
        let at = self.rng.random_range(0..self.dataset.keys.len());
        let key = self.dataset.keys[at].clone();
        match self.workload {
            Workload::Put => self.put(key),
            Workload::Get => get(key, Consistency::Linearizable),
            Workload::SerializableGet => get(key, Consistency::Serializable),
            Workload::Mixed if self.rng.random_ratio(MIXED_PUT_PERCENT, 100) => self.put(key),
            Workload::Mixed => get(key, Consistency::Linearizable),
        }
    }

    pub fn value_bytes(&self) -> usize {
        self.dataset.value_bytes as usize
    }

    fn put(&mut self, key: Bytes) -> Request {
        let value = self.dataset.value(&mut self.rng);
        Request::Put(PutRequest { key, value, ..PutRequest::default() })
    }
}

#[derive(PartialEq)]
enum Consistency {
    Linearizable,
    Serializable,
}

fn get(key: Bytes, consistency: Consistency) -> Request {
    Request::Get(RangeRequest {
        key,
        serializable: consistency == Consistency::Serializable,
        ..RangeRequest::default()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cell(workload: Workload) -> Cell {
        Cell { workload, value_bytes: 256, clients: 2 }
    }

    fn draws(seed: u64, workload: Workload, client: u32) -> Vec<(Bytes, Bytes)> {
        let mut requests = Dataset::new(100, 256, seed).requests(&cell(workload), 0, client);
        let drawn = (0..1000).map(|_| match requests.draw() {
            Request::Put(put) => (put.key, put.value),
            Request::Get(get) => (get.key, Bytes::new()),
        });
        drawn.collect()
    }

    #[test]
    fn the_seed_decides_and_clients_differ() {
        assert_eq!(draws(1, Workload::Mixed, 0), draws(1, Workload::Mixed, 0));
        assert_ne!(draws(1, Workload::Mixed, 0), draws(2, Workload::Mixed, 0));
        assert_ne!(draws(1, Workload::Mixed, 0), draws(1, Workload::Mixed, 1));
    }

    #[test]
    fn a_fifth_of_the_mix_are_puts() {
        let puts = draws(1, Workload::Mixed, 0).iter().filter(|(_, value)| !value.is_empty()).count();
        assert!((150..250).contains(&puts), "{puts} of 1000");
        assert!(draws(1, Workload::Put, 0).iter().all(|(_, value)| value.len() == 256));
    }

    #[test]
    fn filling_covers_every_key_once_and_keys_tell_their_size() {
        let dataset = Dataset::new(10, 4096, 1);
        let mut keys: Vec<_> = (0..3).flat_map(|first| dataset.fill(first, 3)).map(|put| put.key).collect();
        keys.sort();
        assert_eq!(keys, dataset.keys);
        assert_eq!(value_bytes_of(&keys[9]), Some(4096));
        assert_eq!(value_bytes_of(b"else/4096/1"), None);
    }
}

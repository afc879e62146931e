//! How watch is tested, on a real state in memory (`world.rs`, `hooked.rs`):
//!
//! - stories, `scripts.rs`;
//! - properties with seeds against a plain list, `properties.rs` with `model.rs` and `chance.rs`;
//! - threads that race, `races.rs`;
//! - what publishing costs, `cost.rs`.

mod chance;
mod cost;
mod hooked;
mod model;
mod properties;
mod races;
mod scripts;
mod world;

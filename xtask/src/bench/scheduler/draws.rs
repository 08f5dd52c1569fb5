//! Chance that is the same each time.

use std::f64::consts::TAU;

use rand::{RngExt, SeedableRng, rngs::StdRng};

/// A sequence of draws.
#[derive(Debug)]
pub(in crate::bench) struct Draws(StdRng);

impl Draws {
    pub(in crate::bench) fn new(seed: u64) -> Self {
        Self(StdRng::seed_from_u64(seed))
    }

    /// What belongs to these words under a seed, whatever was drawn before.
    pub(super) fn of(seed: u64, words: &[&str]) -> Self {
        let mut key = 0xcbf2_9ce4_8422_2325 ^ seed;
        for byte in words.iter().flat_map(|word| word.bytes().chain([0])) {
            key = (key ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
        Self::new(key)
    }

    pub(super) fn below(&mut self, end: usize) -> usize {
        self.0.random_range(0..end.max(1))
    }

    /// Between 0 and 1.
    pub(super) fn part(&mut self) -> f64 {
        self.0.random()
    }

    /// Of the normal distribution with mean 0 and deviation 1.
    pub(super) fn normal(&mut self) -> f64 {
        let radius = (-2.0 * (1.0 - self.part()).ln()).sqrt();
        radius * (TAU * self.part()).cos()
    }
}

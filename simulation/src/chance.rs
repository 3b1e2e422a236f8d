//! Streams of chance, each from the seed and a name, so that what one part draws changes nothing for another.

use std::{
    ops::Range,
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use muster_manager::outside::Random;

/// SplitMix64.
const STEP: u64 = 0x9e37_79b9_7f4a_7c15;

#[derive(Debug)]
pub struct Chance(AtomicU64);

fn mix(mut bits: u64) -> u64 {
    bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    bits ^ (bits >> 31)
}

impl Chance {
    #[must_use]
    pub fn new(seed: u64, name: &str) -> Self {
        let named = name.bytes().fold(mix(seed.wrapping_add(STEP)), |bits, byte| mix(bits ^ u64::from(byte)));
        Self(AtomicU64::new(named))
    }

    pub fn draw(&self) -> u64 {
        mix(self.0.fetch_add(STEP, Ordering::Relaxed).wrapping_add(STEP))
    }

    pub fn below(&self, bound: u64) -> u64 {
        self.draw() % bound.max(1)
    }

    pub fn within(&self, range: Range<u64>) -> u64 {
        range.start + self.below(range.end.saturating_sub(range.start))
    }

    pub fn millis(&self, range: Range<u64>) -> Duration {
        Duration::from_millis(self.within(range))
    }

    /// True so many times in a thousand.
    pub fn permille(&self, share: u64) -> bool {
        self.below(1_000) < share
    }

    pub fn pick<'a, T>(&self, from: &'a [T]) -> Option<&'a T> {
        from.get(usize::try_from(self.below(from.len() as u64)).unwrap_or(0))
    }
}

impl Random for Chance {
    fn bits(&self) -> u64 {
        self.draw()
    }
}

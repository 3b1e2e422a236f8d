//! A name for a service that was given none.

const QUALITIES: [&str; 32] = [
    "able", "bold", "brave", "bright", "brisk", "calm", "clear", "crisp", "deft", "eager", "fair", "fleet", "fresh",
    "gentle", "glad", "grand", "hardy", "keen", "kind", "lively", "lucid", "merry", "neat", "noble", "patient",
    "quick", "quiet", "ready", "sharp", "steady", "swift", "warm",
];
const THINGS: [&str; 32] = [
    "anchor", "barge", "beacon", "brig", "buoy", "canoe", "clipper", "compass", "cutter", "deck", "dinghy", "dock",
    "ferry", "fleet", "galley", "harbor", "helm", "jetty", "keel", "ketch", "lantern", "mast", "oar", "pier", "quay",
    "raft", "rudder", "sail", "schooner", "sloop", "tide", "tug",
];

/// `steady_quay_4f1c`: the number keeps two services of one cluster apart, nearly always; the manager refuses the rest.
#[must_use]
pub fn from_bits(bits: u32) -> String {
    let pick = |words: &[&'static str; 32], shift: u32| words[(bits >> shift) as usize % words.len()];
    format!("{}_{}_{:04x}", pick(&QUALITIES, 0), pick(&THINGS, 5), bits >> 16)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_bit_counts_or_is_left_out_on_purpose() {
        assert_eq!(from_bits(0), "able_anchor_0000");
        assert_eq!(from_bits(u32::MAX), "warm_tug_ffff");
    }
}

//! Holes in offsets, as Kafka has them (a transaction's marker takes an offset): tests inject them everywhere, so that
//! arithmetic on offsets fails at once.

/// The numbers of SplitMix64 (Steele, Lea, Flood 2014): small, seeded, the same on every machine.
#[derive(Clone, Debug)]
pub(crate) struct Seeded(u64);

impl Seeded {
    pub(crate) const fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below `bound`.
    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }
}

/// How many offsets are skipped: none in production, some in tests.
#[derive(Clone, Debug)]
pub(crate) struct Holes(Option<Seeded>);

impl Holes {
    pub(crate) fn new(seed: Option<u64>) -> Self {
        Self(seed.map(Seeded::new))
    }

    /// Offsets to skip here.
    pub(crate) fn width(&mut self) -> u64 {
        self.0.as_mut().map_or(0, |seeded| seeded.below(4).saturating_sub(1))
    }
}

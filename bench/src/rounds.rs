//! Both sides take turns, so that whatever the machine does meanwhile it does to both.

use std::time::Duration;

use hdrhistogram::Histogram;

use crate::limits;
use crate::machine::Window;

/// What one turn came to.
#[derive(Clone, Debug)]
pub(crate) struct Turn {
    /// Of whatever is counted, per second.
    pub(crate) rate: f64,
    pub(crate) latencies: Option<Latencies>,
    /// Share of the machine's processors that the client took.
    pub(crate) client_share: f64,
    /// Processor time that one of whatever is counted took of us and of the servers that we started, without the client's,
    /// microseconds. Unlike the rate it means something on a busy machine as well.
    pub(crate) processor_us: Option<f64>,
}

impl Turn {
    /// So many in this time.
    pub(crate) fn of(count: u64, took: Duration) -> Self {
        Self { rate: count as f64 / took.as_secs_f64(), latencies: None, client_share: 0.0, processor_us: None }
    }
}

/// How long each of many took.
#[derive(Clone, Debug)]
pub(crate) struct Latencies(Histogram<u64>);

impl Latencies {
    pub(crate) fn new() -> Self {
        // Bounds and digits are constants that it takes.
        #[allow(clippy::unwrap_used)]
        Self(Histogram::new_with_bounds(1, limits::LATENCY_US_MAX, 3).unwrap())
    }

    pub(crate) fn record(&mut self, took: Duration) {
        self.0.saturating_record(u64::try_from(took.as_micros()).unwrap_or(u64::MAX).max(1));
    }

    pub(crate) fn add(&mut self, other: &Self) {
        // Both have the same bounds, so nothing can be outside.
        let _ = self.0.add(&other.0);
    }

    /// Milliseconds.
    pub(crate) fn quantile_ms(&self, quantile: f64) -> f64 {
        self.0.value_at_quantile(quantile) as f64 / 1e3
    }
}

/// The turns of both sides.
#[derive(Clone, Debug, Default)]
pub(crate) struct Turns {
    pub(crate) ours: Vec<Turn>,
    pub(crate) floor: Vec<Turn>,
    /// The largest share of the machine that others took in a turn.
    pub(crate) others: f64,
}

/// Ours, the floor, ours, the floor, …: each so many times.
pub(crate) fn alternate(
    rounds: u8,
    mut ours: impl FnMut(u8) -> anyhow::Result<Turn>,
    mut floor: impl FnMut(u8) -> anyhow::Result<Turn>,
) -> anyhow::Result<Turns> {
    let mut turns = Turns::default();
    for round in 0..rounds {
        let window = Window::open()?;
        turns.ours.push(ours(round)?);
        turns.others = turns.others.max(window.others()?);
        let window = Window::open()?;
        turns.floor.push(floor(round)?);
        turns.others = turns.others.max(window.others()?);
    }
    Ok(turns)
}

/// The same without a floor.
pub(crate) fn repeat(rounds: u8, mut ours: impl FnMut(u8) -> anyhow::Result<Turn>) -> anyhow::Result<Turns> {
    let mut turns = Turns::default();
    for round in 0..rounds {
        let window = Window::open()?;
        turns.ours.push(ours(round)?);
        turns.others = turns.others.max(window.others()?);
    }
    Ok(turns)
}

/// The middle one; of an even number the lower one of the two.
pub(crate) fn median(values: impl Iterator<Item = f64>) -> Option<f64> {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    values.get(values.len().checked_sub(1)? / 2).copied()
}

/// All turns' latencies together.
pub(crate) fn latencies(turns: &[Turn]) -> Option<Latencies> {
    turns.iter().filter_map(|turn| turn.latencies.clone()).reduce(|mut all, turn| {
        all.add(&turn);
        all
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sides_take_turns() {
        let order = std::cell::RefCell::new(String::new());
        let turn = |side: char| {
            order.borrow_mut().push(side);
            Ok(Turn::of(1, Duration::from_secs(1)))
        };
        let turns = alternate(3, |_| turn('o'), |_| turn('f')).unwrap();
        assert_eq!((turns.ours.len(), turns.floor.len(), order.into_inner().as_str()), (3, 3, "ofofof"));
    }

    #[test]
    fn a_median_is_one_of_the_values() {
        assert_eq!(median([3.0, 1.0, 2.0].into_iter()), Some(2.0));
        assert_eq!(median([4.0, 1.0].into_iter()), Some(1.0));
        assert_eq!(median(std::iter::empty()), None);
    }
}

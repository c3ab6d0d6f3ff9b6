//! Which columns of a row a version of its table leaves out: an older version is written as its difference.

/// Most columns of a table: a set of them is one word.
pub const COLUMNS_MAX: usize = 64;

/// Columns of a row, by their place in it, that a table does not have.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct LeftOut(u64);

impl LeftOut {
    /// None: the table has the whole row.
    pub const NONE: Self = Self(0);

    /// True if the table has the whole row.
    #[inline]
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// How many.
    pub const fn len(self) -> usize {
        self.0.count_ones() as usize
    }

    /// True if the column at this place of the row is left out.
    #[inline]
    pub const fn contains(self, place: usize) -> bool {
        self.0 >> place & 1 == 1
    }

    /// These, and the column at this place, which is below [`COLUMNS_MAX`].
    #[must_use]
    pub const fn with(self, place: usize) -> Self {
        Self(self.0 | 1 << place)
    }

    /// What is kept of `items`, one per column of the row from `start` on, in order.
    pub(crate) fn remove_from<T: Copy>(self, items: &mut Vec<T>, start: usize) {
        let mut kept = start;
        for place in start..items.len() {
            if !self.contains(place - start) {
                items[kept] = items[place];
                kept += 1;
            }
        }
        items.truncate(kept);
    }
}

//! Every bound of the domain, with its unit in its name.

/// Longest name of anything, characters.
pub const NAME_CHARS_MAX: usize = 200;
/// Longest slug of a workspace, characters: as long as a DNS label.
pub const SLUG_CHARS_MAX: usize = 63;
/// Longest number of a release, characters.
pub const RELEASE_NUMBER_CHARS_MAX: usize = 100;
/// Longest requirement of a dependency on its target's releases, characters.
pub const REQUIREMENT_CHARS_MAX: usize = 200;
/// Longest address that an application comes from, characters.
pub const SOURCE_CHARS_MAX: usize = 1_000;
/// Longest note, characters.
pub const NOTE_CHARS_MAX: usize = 4_000;
/// Most releases of one application. Its state knows them all, so that none is released twice.
pub const RELEASES_MAX: usize = 10_000;
/// Longest retention of a workspace, days: a hundred years.
pub const RETENTION_DAYS_MAX: i64 = 36_500;

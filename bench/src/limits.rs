//! Every bound of this crate, with its unit in its name.

/// Turns of each side, unless told otherwise.
pub(crate) const ROUNDS: u8 = 5;
/// Length of a turn of commands, seconds, unless told otherwise.
pub(crate) const TURN_S: f64 = 1.5;
/// Part of it that is spent before anything is counted.
pub(crate) const WARM_UP_SHARE: f64 = 0.2;
/// Events of a log that is folded or rebuilt from, unless told otherwise.
pub(crate) const EVENTS: u64 = 1_000_000;
/// Commands in flight, embedded.
pub(crate) const EMBEDDED_IN_FLIGHT: &[usize] = &[1, 64, 512];
/// Commands in flight, of which a node takes half at a time and lets a third of the others wait.
pub(crate) const OVERLOAD_IN_FLIGHT: usize = 3_000;
/// Commands in flight that it is compared with.
pub(crate) const WITHOUT_OVERLOAD_IN_FLIGHT: usize = 64;
/// Commands in flight, on Kafka.
pub(crate) const KAFKA_IN_FLIGHT: &[usize] = &[64, 512];
/// Partitions of a context.
pub(crate) const PARTITIONS: u16 = 4;
/// Share of the machine's processors that others may take in a turn.
pub(crate) const OTHERS_SHARE_MAX: f64 = 0.1;
/// How long the machine is looked at before anything is measured, milliseconds.
pub(crate) const LOOK_MS: u64 = 1_000;
/// Longest latency that a histogram tells apart, microseconds.
pub(crate) const LATENCY_US_MAX: u64 = 60_000_000;
/// Longest answer to a command or query, bytes.
pub(crate) const ANSWER_BYTES_MAX: usize = 64 << 10;
/// Longest wait for one answer, seconds.
pub(crate) const ANSWER_S_MAX: u64 = 30;
/// Most lines that wait for the floor's thread.
pub(crate) const BARE_QUEUE_LINES_MAX: usize = 1_024;
/// Events that a batched upsert loop commits at once.
pub(crate) const UPSERT_BATCH_EVENTS: usize = 1_000;
/// Most turns of a rebuild beside a loop of upserts: one of the loop's takes ten times as long.
pub(crate) const REBUILD_ROUNDS_MAX: u8 = 3;
/// Events of one append of a made log.
pub(crate) const EVENTS_PER_APPEND: u64 = 200;
/// Events of one row of a made log.
pub(crate) const EVENTS_PER_ROW: u64 = 4;
/// Commands and queries of one turn that looks when a command shows.
pub(crate) const VISIBLE_SAMPLES: usize = 400;
/// Commands of one turn of lines at full speed.
pub(crate) const LIVE_COMMANDS: u64 = 200_000;
/// Connections that they come on.
pub(crate) const LIVE_CONNECTIONS: usize = 8;
/// Into how many workspaces.
pub(crate) const LIVE_WORKSPACES: &[usize] = &[1, 8];
/// Most turns of it.
pub(crate) const LIVE_ROUNDS_MAX: u8 = 3;
/// Lines that are sent at once.
pub(crate) const LINES_PER_CHUNK: u64 = 64;
/// Longest that a read model may take until it is current, seconds.
pub(crate) const CURRENT_S_MAX: u64 = 60;
/// Pause between two looks whether it is, milliseconds.
pub(crate) const CURRENT_LOOK_MS: u64 = 5;
/// Events that come while a store is stopped.
pub(crate) const CATCH_UP_EVENTS: u64 = 100_000;
/// Rows that its table has before.
pub(crate) const CATCH_UP_ROWS: &[u64] = &[10_000, 1_000_000];
/// Most turns of catching up.
pub(crate) const CATCH_UP_ROUNDS_MAX: u8 = 3;
/// Lines of an import that is repeated.
pub(crate) const REPLAY_LINES: u64 = 10_000;
/// Most turns of it.
pub(crate) const REPLAY_ROUNDS_MAX: u8 = 3;
/// Records of our own log that the bare producer repeats.
pub(crate) const SAMPLE_RECORDS_MAX: usize = 2_048;
/// Messages taken from librdkafka's queue at once, as the engine does.
pub(crate) const TAKE_MESSAGES_MAX: usize = 512;
/// Longest wait until so many are there, milliseconds: at a topic's end they never are.
pub(crate) const TAKE_MS_MAX: i32 = 5;

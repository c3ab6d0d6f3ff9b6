//! Every bound of this crate, with its unit in its name.

/// How long a client lets a server work on one try, milliseconds.
pub const ATTEMPT_MS: u64 = 3_000;
/// How much longer it waits for the answer itself, milliseconds.
pub const ATTEMPT_GRACE_MS: u64 = 1_500;
/// Longest pause of a client between two tries, milliseconds.
pub const RETRY_PAUSE_MS_MAX: u64 = 120;
/// Shortest pause of a client between two steps, milliseconds: the faults are the point, not the load.
pub const STEP_PAUSE_MS: u64 = 4;
/// How long a client goes on trying once all faults are over, milliseconds.
pub const SETTLE_MS_MAX: u64 = 60_000;
/// How long read models may take to reach the log's end once the last fault has passed, milliseconds, and sessions of the
/// database to end whose clients have gone.
pub const CATCH_UP_MS_MAX: u64 = 30_000;
/// Pause between two looks at the sessions of the database, milliseconds.
pub const SESSIONS_LOOK_MS: u64 = 100;
/// How long a load is measured before a fault, and during it, milliseconds: shorter than a session timeout, so that a dead
/// owner's partitions have no other owner yet.
pub const ISOLATION_LOAD_MS: u64 = 2_500;
/// Clients of each kind of load.
pub const ISOLATION_CLIENTS: usize = 6;
/// Requests that wait for what has fallen out: more than a node serves at the same time, fewer than files may be open.
pub const ISOLATION_WAITING: usize = 700;
/// Clients that go on writing while a large read model's database stands still: what they write is the backlog then.
pub const WRITERS: u64 = 4;
/// Commands of one of their requests.
pub const BULK_COMMANDS: usize = 100;
/// Their pause between two requests, milliseconds.
pub const BULK_PAUSE_MS: u64 = 350;
/// Events of one append of a history that is made in bulk.
pub const MADE_APPEND_EVENTS: u64 = 4_000;
/// How long a process may take until it is ready, milliseconds.
pub const READY_MS_MAX: u64 = 60_000;
/// How long a process may take to end after SIGTERM, milliseconds.
pub const STOP_MS_MAX: u64 = 20_000;
/// Pause between two looks at something that is waited for, milliseconds.
pub const POLL_MS: u64 = 5;
/// Lines of a process's standard error that are shown when something is wrong with it.
pub const STDERR_LINES_SHOWN: usize = 40;
/// Violations that are shown of one run; all are counted.
pub const VIOLATIONS_SHOWN: usize = 10;
/// How long a drill waits for what comes only with the mistake that it is for, milliseconds.
pub const GRACE_MS: u64 = 400;
/// How long a client waits that has to be told something, however long it takes, milliseconds.
pub const PATIENT_ATTEMPT_MS: u64 = 29_000;
/// How often processes may end by themselves and be started again while a schedule happens.
pub const RESTARTS_MAX: u32 = 20;
/// How long read models may take to reach the log's end behind a drill, milliseconds.
pub const DRILL_CATCH_UP_MS_MAX: u64 = 8_000;
/// How long no partition may change hands until they count as shared out, milliseconds.
pub const SHARED_OUT_MS: u64 = 700;
/// How long a client of a drill tries until it takes a partition for dead, milliseconds: longer than an heir needs.
pub const DRILL_ANSWER_MS_MAX: u64 = 40_000;
/// How long a drill keeps a table of the database locked, milliseconds: longer than anybody waits for an answer, and
/// [`SESSION_OUTLIVES_MS`] more.
pub const DRILL_LOCK_MS: u64 = 17_000;
/// How long a session that a drill calls left behind has been without its client, milliseconds: several times as long as
/// the server takes to notice.
pub const SESSION_OUTLIVES_MS: u64 = 3_000;
/// How often a drill looks for an owner that stays one until it is held.
pub const DRILL_HOLDS_MAX: usize = 5;
/// The same where nobody has to inherit the partition, milliseconds.
pub const DRILL_LIFE_MS_MAX: u64 = 8_000;

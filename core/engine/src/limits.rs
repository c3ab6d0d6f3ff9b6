//! Every bound of this crate, with its unit in its name.

/// Largest append, bytes: what a Kafka record batch may carry as well.
pub const APPEND_BYTES_MAX: usize = 3_500_000;
/// Largest batch of raw records that a reader delivers, bytes, unless one append alone is larger.
pub const READ_BATCH_BYTES_MAX: usize = 4 << 20;
/// Most rows that a snapshot of a sink delivers at once.
pub const SNAPSHOT_CHUNK_ROWS_MAX: usize = 1_024;
/// How long a promotion holds the live generation still while it waits for the target's runner, milliseconds.
pub const PROMOTE_WAIT_MS_MAX: u64 = 1_000;
/// How long a switch to a promoted generation waits until it has reached what was shown before, milliseconds.
pub const SWITCH_WAIT_MS_MAX: u64 = 1_000;
/// How often a process looks whether another one changed the registry of generations, milliseconds.
pub const REGISTRY_POLL_MS: u64 = 250;
/// Most appends and claims waiting for the SQLite log's committer; one more waits in its caller.
pub const LOG_QUEUE_REQUESTS_MAX: usize = 1_024;
/// Most appends and claims in one transaction of the SQLite log.
pub const LOG_GROUP_REQUESTS_MAX: usize = 256;
/// Bytes after which a group of appends is closed: bounds the transaction, the memory and the time of one commit.
pub const LOG_GROUP_BYTES_MAX: usize = 16 << 20;
/// How long a connection waits for another process's write transaction, milliseconds.
pub const LOG_BUSY_TIMEOUT_MS: u64 = 5_000;
/// Most connections that read one SQLite log in one process; one more read waits.
pub const LOG_READ_CONNECTIONS_MAX: usize = 8;
/// Most rows of appends in one read statement of the SQLite log.
pub const LOG_READ_ROWS_MAX: i64 = 4_096;
/// Rows that a read statement may be ahead of its reader.
pub const LOG_READ_AHEAD_ROWS_MAX: usize = 64;
/// Prepared statements kept per connection.
pub const LOG_STATEMENTS_MAX: usize = 600;
/// Log files that one process keeps open because it looked at their first bytes; it serves one.
pub const LOG_FILES_PEEKED_MAX: usize = 256;
/// Bytes written after which the write-ahead log is copied into the database file.
pub const LOG_CHECKPOINT_BYTES: u64 = 8 << 20;
/// Size of the write-ahead log above which it is truncated, bytes.
pub const LOG_WAL_BYTES_MAX: u64 = 256 << 20;
/// Shortest pause between two looks at what other processes wrote, milliseconds.
pub const LOG_POLL_MIN_MS: u64 = 1;
/// Longest pause between two looks at what other processes wrote, milliseconds.
pub const LOG_POLL_MAX_MS: u64 = 10;
/// Partitions of a context in a new log, unless told otherwise.
pub const LOG_PARTITIONS_DEFAULT: u16 = 4;
/// Most partitions of a context: one per slot.
pub const LOG_PARTITIONS_MAX: u16 = 4_096;
/// Longest key of a `meta` entry, bytes.
pub const META_KEY_BYTES_MAX: usize = 256;
/// Largest value of a `meta` entry, bytes.
pub const META_VALUE_BYTES_MAX: usize = 1 << 20;
/// Most records that a checked reader delivers at once, unless one command has more.
pub const CHECKED_BATCH_RECORDS_MAX: usize = 4_096;
/// Most inputs that wait for one partition's owner; beyond it callers are answered 503 at once.
pub const OWNER_QUEUE_INPUTS_MAX: usize = 1_024;
/// Most inputs that an owner takes into one round.
pub const OWNER_BATCH_INPUTS_MAX: usize = 512;
/// An append is closed to further commands at this size, bytes; with one command more it stays below an append's limit.
pub const OWNER_BATCH_BYTES_MAX: usize = 1 << 20;
/// Most payload bytes of one command's events.
pub const COMMAND_BYTES_MAX: usize = 1 << 20;
/// Most bytes of one command's records, envelopes included: behind a batch that is just not closed they still fit.
pub const COMMAND_RECORDS_BYTES_MAX: usize = APPEND_BYTES_MAX - OWNER_BATCH_BYTES_MAX;
/// Most events of one command.
pub const COMMAND_EVENTS_MAX: usize = annals_model::limits::COMMAND_EVENTS_MAX;
/// Most rounds of loading states and deciding again for one command.
pub const DECIDE_ROUNDS_MAX: usize = 8;
/// How long an owner may answer without having proved that no newer claim exists, milliseconds.
pub const OWNERSHIP_PROOF_MS_MAX: u64 = 1_000;
/// How far the wall clock may jump ahead of the time that has passed and of the newest record, milliseconds; beyond it the
/// clock is held back.
pub const CLOCK_AHEAD_MS_MAX: u64 = 300_000;
/// How often the clocks are compared where no command does it, milliseconds.
pub const CLOCK_LOOK_MS: u64 = 1_000;
/// How old the log's note of a clock that is held back may become, milliseconds: a restart goes on from there.
pub const CLOCK_NOTE_MS: u64 = 10_000;
/// Longest that an engine's shutdown waits for its owners, milliseconds.
pub const ENGINE_STOP_MS_MAX: u64 = 1_500;
/// How long an owner that shuts down goes on with a claim that was begun, milliseconds: somebody may wait for what it tells.
pub const CLAIM_STOP_MS: u64 = 500;
/// Longest wait for records before a claim, milliseconds: what a dying owner left half done comes only behind the claim.
pub const CATCH_UP_MS: u64 = 1_000;
/// First and longest pause between two tries to claim, milliseconds.
pub const CLAIM_BACKOFF_MS_MIN: u64 = 50;
/// See [`CLAIM_BACKOFF_MS_MIN`].
pub const CLAIM_BACKOFF_MS_MAX: u64 = 5_000;
/// How long a process that was fenced leaves the partition to others before it claims again, milliseconds, and the longest
/// such time after being fenced again and again: an assignment that is out of date is corrected meanwhile.
pub const FENCED_PAUSE_MS_MIN: u64 = 2_000;
/// See [`FENCED_PAUSE_MS_MIN`].
pub const FENCED_PAUSE_MS_MAX: u64 = 30_000;
/// Pause before a log that could not be followed while standing by is followed again, milliseconds.
pub const STANDBY_RETRY_MS: u64 = 500;
/// How often the owners' addresses are read from the log's `meta`, milliseconds.
pub const OWNERS_POLL_MS: u64 = 250;
/// The least time between two such reads, however many ask, milliseconds.
pub const OWNERS_POLL_MS_MIN: u64 = 10;
/// Longest address of an owner, bytes.
pub const OWNER_ADDRESS_BYTES_MAX: usize = 256;
/// What a caller is told to wait after a refusal for load, milliseconds.
pub const RETRY_AFTER_MS: u64 = 100;
/// Most events of one page of a history.
pub const HISTORY_EVENTS_MAX: usize = 500;
/// Most findings that a verification of a log lists per partition; more are counted.
pub const VERIFY_FINDINGS_PER_PARTITION_MAX: usize = 16;
/// Memory for the rows of a fold, bytes, unless told otherwise.
pub const FOLD_MEMORY_BYTES_DEFAULT: usize = 512 << 20;
/// Most partitions folded at the same time.
pub const FOLD_WORKERS_MAX: usize = 64;
/// Events between two looks at memory and cancellation.
pub const FOLD_CHUNK_EVENTS: usize = 256;
/// Longest pause of a throttled fold before it looks whether it was cancelled, milliseconds.
pub const FOLD_PAUSE_MS_MAX: u64 = 100;
/// Offsets before a partition's end in which its last records are looked for at first.
pub const EXTENT_OFFSETS_MIN: u64 = 256;
/// Most diverging rows that a verification shows.
pub const VERIFY_DIVERGENCES_MAX: usize = 20;
/// Most events that it shows of each.
pub const VERIFY_EVENTS_MAX: usize = 100;
/// Buffer between a verification and its file of rows, bytes.
pub const VERIFY_SPOOL_BUFFER_BYTES: usize = 1 << 20;
/// Events per second that a plan assumes, unless told otherwise.
pub const PLAN_EVENTS_PER_SECOND: u64 = 1_000_000;
/// Most batches without an event for the read model that a runner passes before it commits its checkpoint.
pub const RUNNER_SKIPPED_BATCHES_MAX: usize = 16;
/// Most tries of one operation of a sink or a log that is down, before a runner stops and says so.
pub const RUNNER_ATTEMPTS_MAX: u32 = 10;
/// First and longest pause between two of these tries, milliseconds.
pub const RUNNER_BACKOFF_MS_MIN: u64 = 20;
/// See [`RUNNER_BACKOFF_MS_MIN`].
pub const RUNNER_BACKOFF_MS_MAX: u64 = 2_000;
/// First and longest time that a runner stands back when another instance was faster, milliseconds.
pub const RUNNER_STAND_BACK_MS_MIN: u64 = 10;
/// See [`RUNNER_STAND_BACK_MS_MIN`].
pub const RUNNER_STAND_BACK_MS_MAX: u64 = 500;
/// When a runner that stopped because something was down is started again, milliseconds.
pub const RUNNER_RESTART_MS: u64 = 5_000;
/// Most messages taken from librdkafka's queue at once.
pub const KAFKA_TAKE_MESSAGES_MAX: usize = 512;
/// Most clients of finished readers that are kept for the next ones, of each purpose.
pub const KAFKA_IDLE_READERS_MAX: usize = 8;
/// How long they are kept, milliseconds.
pub const KAFKA_IDLE_READER_MS: u64 = 30_000;
/// Memory for what the readers of a process have fetched and not read yet, bytes, as brokers send it: one half for folds
/// and claims, the other for whoever follows partitions (standing owners, runners). Beyond it each further reader gets
/// [`KAFKA_READER_BYTES_MIN`].
pub const KAFKA_READERS_BYTES_MAX: usize = 256 << 20;
/// The largest share of one fold or claim in it, bytes.
pub const KAFKA_FOLD_BYTES_MAX: usize = 32 << 20;
/// The largest share of one follower, bytes.
pub const KAFKA_TAIL_BYTES_MAX: usize = 2 << 20;
/// The smallest share of any of them, bytes; an append that is larger comes whole all the same.
pub const KAFKA_READER_BYTES_MIN: usize = 64 << 10;
/// Most clients that look up single records (answers to repeated commands, histories) at the same time.
pub const KAFKA_LOOKUP_CLIENTS_MAX: usize = 8;
/// Most places of one partition that are looked at, at the same time.
pub const KAFKA_LOOKUPS_AT_ONCE_MAX: usize = 4;
/// Offsets between two records that are looked up with one fetch: what lies between them is read and dropped.
pub const KAFKA_LOOKUP_STEP_OFFSETS: u64 = 4_096;
/// How long what was fetched last of a partition is kept for the next look, milliseconds.
pub const KAFKA_LOOKUP_KEPT_MS: u64 = 500;
/// Of how many partitions it is kept: each a few MiB at most.
pub const KAFKA_LOOKUPS_KEPT_MAX: usize = 8;
/// Longest wait for a question to the brokers (where a partition ends, what a topic is like), milliseconds.
pub const KAFKA_QUESTION_MS_MAX: u64 = 5_000;
/// Longest wait for one broker's answer to it, milliseconds: then another one is asked.
pub const KAFKA_TRY_MS_MAX: u64 = 1_500;
/// Partitions of the topic that proofs of ownership go to.
pub const KAFKA_PROOFS_PARTITIONS: u16 = 4;
/// Longest time for which a proof of ownership may be kept, by its topic's `retention.ms`.
pub const KAFKA_PROOFS_MS_MAX: u64 = 604_800_000;
/// How long an answer that would mean loss (a topic that is gone, an end that lies before what was read) is asked for
/// again before it is believed, milliseconds: brokers that were just replaced do not know it at once.
pub const KAFKA_CONFIRM_MS: u64 = 2_000;
/// Longest wait for records that must come, milliseconds: an owner that died in a commit holds readers back until its
/// transaction times out, which the brokers look for every 10 s.
pub const KAFKA_READ_MS_MAX: u64 = 30_000;
/// How long a reader of a partition hears nothing until it looks whether there is something, and how long what is there
/// may stay away until it is asked for anew, milliseconds.
pub const KAFKA_STALL_MS: u64 = 2_000;
/// Longest wait for one producer to be registered, milliseconds.
pub const KAFKA_CLAIM_STEP_MS_MAX: u64 = 15_000;
/// Most tries of one claim while others claim too.
pub const KAFKA_CLAIM_ATTEMPTS_MAX: u32 = 5;
/// Longest pause before the second of them, milliseconds; each later one may be so much longer.
pub const KAFKA_CLAIM_JITTER_MS_MAX: u64 = 500;
/// Longest wait until a topic that was just made can be used, milliseconds.
pub const KAFKA_TOPIC_MS_MAX: u64 = 30_000;
/// Pause between two looks at it, milliseconds.
pub const KAFKA_TOPIC_POLL_MS: u64 = 20;
/// Replicas of a new topic where there are as many brokers.
pub const KAFKA_REPLICAS: usize = 3;
/// Longest prefix of topic names, bytes.
pub const KAFKA_PREFIX_BYTES_MAX: usize = 100;
/// Longest that a question for a partition's end waits for the marker of a transaction, milliseconds.
pub const KAFKA_SETTLE_MS_MAX: u64 = 200;
/// The same where it is asked what readers can be given, milliseconds: what was acknowledged is among it by then.
pub const KAFKA_MARKER_MS_MAX: u64 = 1_000;
/// Longest that partitions are held back from another node until this one has released them, milliseconds.
pub const KAFKA_RELEASE_MS_MAX: u64 = 2_500;
/// Longest that leaving the group of nodes takes, milliseconds: a release and a request.
pub const KAFKA_LEAVE_MS_MAX: u64 = 3_000;
/// How often a member looks whether it shall leave, milliseconds.
pub const KAFKA_MEMBER_POLL_MS: u64 = 50;
/// Shortest time between two warnings that the group cannot be served, milliseconds.
pub const KAFKA_MEMBER_WARN_MS: u64 = 60_000;
/// How often a log looks whether its topics are still as they must be, milliseconds.
pub const KAFKA_TOPICS_CHECK_MS: u64 = 60_000;
/// The same while they are not.
pub const KAFKA_TROUBLE_CHECK_MS: u64 = 5_000;
/// About what a new reader's connection takes, milliseconds: one that is free sooner is waited for.
pub const KAFKA_CONNECT_MS: u64 = 10;
/// Longest that a writer which the brokers refuse looks for the newer claim, milliseconds: registering both producers
/// of a claim takes up to a second where an older one's transaction is open.
pub const KAFKA_SUCCESSOR_MS_MAX: u64 = 3_000;
/// Pause between two looks at stored checkpoints while somebody waits for them, milliseconds.
pub const OBSERVE_WAITED_MS: u64 = 3;
/// The same while nobody does, milliseconds.
pub const OBSERVE_IDLE_MS: u64 = 1_000;
/// Pause between two samples of lag and partitions, milliseconds.
pub const TELEMETRY_SAMPLE_MS: u64 = 1_000;
/// Longest wait for one answer of log or store while sampling, milliseconds.
pub const TELEMETRY_QUESTION_MS_MAX: u64 = 2_000;
/// Pause between two looks at whether read models can be read and move, milliseconds.
pub const HEALTH_LOOK_MS: u64 = 1_000;
/// Longest wait for one answer of log or store at such a look, milliseconds.
pub const HEALTH_QUESTION_MS_MAX: u64 = 2_000;
/// How long a read model that is behind the log may stand still before that is trouble, milliseconds: above the time that
/// another projector needs to go on after one that was killed in the middle of a commit.
pub const HEALTH_STILL_MS: u64 = 15_000;
/// How often a process tells that it lives, milliseconds.
pub const PROCESS_TELLS_MS: u64 = 5_000;
/// How long a process is taken for alive after it was heard of, milliseconds: three of these times.
pub const PROCESS_LOST_MS: u64 = 15_000;
/// How long one that was lost is remembered, milliseconds: long enough for whoever is called to see it.
pub const PROCESS_FORGOTTEN_MS: u64 = 3_600_000;
/// Most processes that are remembered; one that ends and starts again all the time makes no more.
pub const PROCESSES_KNOWN_MAX: u32 = 256;
/// Most retired generations of a read model that a deployment keeps: each is kept current like the live one.
pub const RETIRED_KEPT_MAX: u8 = 16;
/// Longest text of a trouble, or of what a verification found, that is kept, characters.
pub const TROUBLE_CHARS_MAX: usize = 500;

/// Workspaces whose standing is remembered.
pub const WORKSPACES_REMEMBERED_MAX: usize = 10_000;
/// How long a workspace's standing is remembered, milliseconds.
pub const WORKSPACE_REMEMBERED_MS: u64 = 60_000;
/// Pause before the events that tell of workspaces are followed again after a failure, milliseconds.
pub const ADMISSION_RETRY_MS: u64 = 500;

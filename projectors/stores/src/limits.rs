//! Every bound of this crate, with its unit in its name.

/// Longest time that a query's statement runs, milliseconds.
pub const QUERY_TIME_MS_MAX: u64 = 5_000;
/// The same for a query that walks from row to row and bounds its own work, milliseconds: its cost is not known before.
pub const QUERY_WALK_TIME_MS_MAX: u64 = 2_000;
/// Most of these at once in one process: below the connections, so that plain questions have some.
pub const QUERY_WALKS_MAX: usize = 4;
/// Most of these at once of one tenant.
pub const QUERY_WALKS_PER_TENANT_MAX: usize = 2;
/// A tenant's questions have at most the connections divided by this.
pub const QUERY_TENANT_PART: usize = 2;
/// Steps of SQLite's virtual machine between two looks at that time: well below a millisecond.
pub const QUERY_STEPS_BETWEEN_LOOKS: i32 = 10_000;

/// How long a connection to a read model waits for another one's write transaction, milliseconds: above the time that a
/// promotion may hold a live generation still.
pub const SINK_BUSY_TIMEOUT_MS: u64 = 5_000;
/// Prepared statements kept per connection.
pub const SINK_STATEMENTS_MAX: usize = 512;
/// Most rows of one upsert, insert or select by keys; a power of two.
pub const SINK_STATEMENT_ROWS_MAX: usize = 256;
/// Most parameters of one statement: SQLite's own default limit.
pub const SINK_STATEMENT_PARAMETERS_MAX: usize = 32_766;
/// Rows inserted per transaction of a bulk load.
pub const BULK_TRANSACTION_ROWS_MAX: usize = 1 << 20;
/// Page cache of a bulk load, KiB.
pub const BULK_CACHE_KIB: usize = 64 << 10;
/// Size of a read model's write-ahead log that SQLite keeps on disk after a checkpoint, bytes.
pub const SINK_WAL_BYTES_KEPT: u64 = 64 << 20;
/// Most connections that serve queries on one generation in one process; one more query waits.
pub const READERS_PER_GENERATION_MAX: u32 = 8;
/// How long a query waits for one of them, milliseconds.
pub const READER_WAIT_MS_MAX: u64 = 5_000;
/// Connections to the registry in one process.
pub const REGISTRY_CONNECTIONS_MAX: u32 = 2;

/// Longest that a connection to PostgreSQL may take to open, milliseconds.
pub const STORE_CONNECT_MS_MAX: u64 = 5_000;
/// Longest that PostgreSQL may take for one step of a sink or of the registry, milliseconds. A step that takes longer is
/// given up with its connection: whether it happened, the checkpoint tells.
pub const STORE_ANSWER_MS_MAX: u64 = 10_000;
/// Longest that a statement of a sink or of the registry may run: PostgreSQL ends it then. Below
/// [`STORE_ANSWER_MS_MAX`], so that a slow statement is over, and known as slow, before anybody gives it up.
pub const STATEMENT_MS_MAX: u64 = 8_000;
/// How often PostgreSQL looks whether the client of a running statement is still there, milliseconds.
pub const STORE_PEER_LOOK_MS: u64 = 500;
/// Longest that a client may leave what it was sent unacknowledged before PostgreSQL ends its session, milliseconds.
pub const STORE_PEER_SILENT_MS_MAX: u64 = 25_000;
/// How long a writer waits for the end of the session that it lost, milliseconds.
pub const SESSION_END_MS_MAX: u64 = 5_000;
/// Most characters of what a session is for in its name in PostgreSQL, which has 63 bytes with all.
pub const SESSION_NAME_CHARS_MAX: usize = 36;
/// Longest that a session may do nothing inside a transaction before PostgreSQL ends it, milliseconds: a process that was
/// stopped there holds locks.
pub const SINK_IDLE_MS_MAX: u64 = 3_000;
/// The same for a view of a whole generation, which is written to disk page by page, milliseconds.
pub const SNAPSHOT_IDLE_MS_MAX: u64 = 600_000;
/// Most rows of one upsert, or keys of one select, in PostgreSQL.
pub const SINK_BATCH_ROWS_MAX: usize = 16_384;
/// Bytes of rows handed to COPY at once.
pub const BULK_COPY_BYTES: usize = 256 << 10;
/// Longest that PostgreSQL may take for one of these, milliseconds.
pub const BULK_ANSWER_MS_MAX: u64 = 60_000;
/// Longest that the COPY of a table, or building keys and indexes, may take, milliseconds.
pub const BULK_FINISH_MS_MAX: u64 = 3_600_000;
/// Memory for building one of them, MiB.
pub const BULK_MAINTENANCE_MEMORY_MIB: u32 = 128;
/// How long a builder waits for the lock of one that has just ended, milliseconds.
pub const BUILD_LOCK_WAIT_MS_MAX: u64 = 1_000;
/// Longest that the removal of a generation waits for whoever reads or writes it, milliseconds: the registry is held
/// meanwhile.
pub const DROP_LOCK_WAIT_MS_MAX: u64 = 2_000;
/// Most connections to PostgreSQL that serve queries in one process; one more query waits.
pub const POSTGRES_READERS_MAX: u32 = 16;

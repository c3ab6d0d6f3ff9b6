//! Every bound of this crate, with its unit in its name.

/// Longest wait for a connection to the server, seconds.
pub(crate) const CONNECT_TIMEOUT_SECS: u64 = 5;
/// Longest wait for one answer, seconds: above the server's own cap.
pub(crate) const ANSWER_TIMEOUT_SECS: u64 = 40;
/// Most attempts of one request that the server put off (429, 503).
pub(crate) const ATTEMPTS_MAX: u32 = 8;
/// No further attempt after this long, milliseconds: a server that takes its time for each refusal is down.
pub(crate) const ATTEMPTS_MS_MAX: u64 = 12_000;
/// First pause between attempts when the server names none, milliseconds; doubles each time.
pub(crate) const RETRY_PAUSE_FIRST_MS: u64 = 100;
/// Longest pause between attempts, milliseconds.
pub(crate) const RETRY_PAUSE_MAX_MS: u64 = 3_000;
/// Most command lines of one request of an import.
pub(crate) const IMPORT_CHUNK_LINES: usize = 256;
/// Most bytes of one request of an import.
pub(crate) const IMPORT_CHUNK_BYTES: usize = 1 << 20;
/// Longest line of an NDJSON file or answer, bytes: above the server's bound on one command, so that the server's words are heard.
pub(crate) const LINE_BYTES_MAX: usize = 2 << 20;
/// Most lines of an NDJSON file: of each line that is sent some 30 bytes are kept, to tell equal ones apart.
pub(crate) const IMPORT_LINES_MAX: u64 = 10_000_000;
/// Most applications, or dependencies, of a workspace that an import compares with a lock file; a page more may be read.
pub(crate) const PRESENT_ROWS_MAX: usize = 1_000_000;
/// Largest `Cargo.lock` that is read, bytes.
pub(crate) const LOCKFILE_BYTES_MAX: u64 = 64 << 20;
/// Largest file of certificates that is read, bytes.
pub(crate) const CERTIFICATES_BYTES_MAX: u64 = 4 << 20;
/// Largest command payload that is read from a file or stdin, bytes.
pub(crate) const PAYLOAD_BYTES_MAX: u64 = 1 << 20;
/// Most things to be taken away that a plan names one by one.
pub(crate) const TAKEN_AWAY_SHOWN_MAX: usize = 10;
/// Most refused lines that a report names one by one.
pub(crate) const REFUSALS_SHOWN_MAX: usize = 20;
/// Rows of one page when a query is asked for all.
pub(crate) const PAGE_ROWS: u32 = 500;
/// Rows of a query's first page when nobody says how many.
pub(crate) const PAGE_ROWS_DEFAULT: u32 = 50;
/// Pause between two progress lines when stderr is no terminal, milliseconds.
pub(crate) const PROGRESS_LINE_MS: u64 = 1_000;
/// Longest start of the demo's server, seconds.
pub(crate) const SERVER_START_SECS: u64 = 30;
/// Longest stop of the demo's server, seconds: above the time that it gives open requests.
pub(crate) const SERVER_STOP_SECS: u64 = 20;
/// Pause between two looks whether the demo's server is ready, milliseconds.
pub(crate) const SERVER_POLL_MS: u64 = 10;
/// Longest wait for queries to be served from another generation after a promotion, seconds.
pub(crate) const SWITCH_SECS: u64 = 10;
/// Pause between two commands of the demo's background writer, milliseconds.
pub(crate) const WRITER_PAUSE_MS: u64 = 4;
/// Operations that the demo looks up at a time.
pub(crate) const LOOKUPS_AT_A_TIME: usize = 16;
/// How long a name that is not found is looked up again, milliseconds: rows follow commands.
pub(crate) const NAME_WAIT_MS: u64 = 1_000;
/// Pause between two such looks, milliseconds.
pub(crate) const NAME_POLL_MS: u64 = 25;
/// Longest that `status` waits for one answer of the read models' store or of a server, milliseconds: longer than opening
/// a connection may take, so that the store's own words come first where there are any.
pub(crate) const STATUS_ANSWER_MS_MAX: u64 = 6_000;
/// Longest reason or trouble in the table of `status`, characters: the whole text of a trouble is below the table.
pub(crate) const STATUS_TEXT_CHARS_MAX: usize = 40;
/// Tries after which an import says that the server puts it off.
pub(crate) const REFUSALS_IN_SILENCE: u32 = 3;

//! Every bound of this crate, with its unit in its name.

/// Longest wait for a connection to the server, seconds.
pub const CONNECT_TIMEOUT_SECS: u64 = 5;
/// Longest wait for one answer, seconds: above the server's own cap.
pub const ANSWER_TIMEOUT_SECS: u64 = 40;
/// Most attempts of one request that the server put off (429, 503).
pub const ATTEMPTS_MAX: u32 = 8;
/// No further attempt after this long, milliseconds: a server that takes its time for each refusal is down.
pub const ATTEMPTS_MS_MAX: u64 = 12_000;
/// First pause between attempts when the server names none, milliseconds; doubles each time.
pub const RETRY_PAUSE_FIRST_MS: u64 = 100;
/// Longest pause between attempts, milliseconds.
pub const RETRY_PAUSE_MAX_MS: u64 = 3_000;
/// Most command lines of one request of an import.
pub const IMPORT_CHUNK_LINES: usize = 256;
/// Most bytes of one request of an import.
pub const IMPORT_CHUNK_BYTES: usize = 1 << 20;
/// Longest line of an NDJSON file or answer, bytes: above the server's bound on one command, so that the server's words are heard.
pub const LINE_BYTES_MAX: usize = 2 << 20;
/// Most lines of an NDJSON file: of each line that is sent some 30 bytes are kept, to tell equal ones apart.
pub const IMPORT_LINES_MAX: u64 = 10_000_000;
/// Largest file of certificates that is read, bytes.
pub const CERTIFICATES_BYTES_MAX: u64 = 4 << 20;
/// Largest command payload that is read from a file or stdin, bytes.
pub const PAYLOAD_BYTES_MAX: u64 = 1 << 20;
/// Most refused lines that a report names one by one.
pub const REFUSALS_SHOWN_MAX: usize = 20;
/// Rows of one page when a query is asked for all.
pub const PAGE_ROWS: u32 = 500;
/// Rows of a query's first page when nobody says how many.
pub const PAGE_ROWS_DEFAULT: u32 = 50;
/// Pause between two progress lines when stderr is no terminal, milliseconds.
pub const PROGRESS_LINE_MS: u64 = 1_000;
/// How long a name that is not found is looked up again, milliseconds: rows follow commands.
pub const NAME_WAIT_MS: u64 = 1_000;
/// Pause between two such looks, milliseconds.
pub const NAME_POLL_MS: u64 = 25;
/// Longest that `status` waits for one answer of the read models' store or of a server, milliseconds: longer than opening
/// a connection may take, so that the store's own words come first where there are any.
pub const STATUS_ANSWER_MS_MAX: u64 = 6_000;
/// Longest reason or trouble in the table of `status`, characters: the whole text of a trouble is below the table.
pub const STATUS_TEXT_CHARS_MAX: usize = 40;
/// Tries after which an import says that the server puts it off.
pub const REFUSALS_IN_SILENCE: u32 = 3;

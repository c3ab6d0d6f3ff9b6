//! Every bound of this crate, with its unit in its name.

/// Longest client request id, bytes.
pub const CLIENT_REQUEST_ID_BYTES_MAX: usize = 128;
/// Longest string or byte field that the codec accepts, bytes: above a whole command's body.
pub const AVRO_FIELD_BYTES_MAX: usize = 1 << 20;
/// Most items of an Avro array or map that the codec accepts.
pub const AVRO_ITEMS_MAX: usize = 65_536;
/// Most extensions of one envelope.
pub const EXTENSIONS_MAX: usize = 16;
/// Longest reason of a command, bytes.
pub const REASON_BYTES_MAX: usize = 2_000;
/// Most events of one command: the commit index must fit 16 bits of the event id, and one append must stay small.
pub const COMMAND_EVENTS_MAX: usize = 1_000;
/// Deepest JSON of a command.
pub const JSON_DEPTH_MAX: usize = 32;
/// Most items (members and elements, all levels) of a command's JSON.
pub const JSON_ITEMS_MAX: usize = 16_384;
/// Longest name of a service actor, bytes.
pub const SERVICE_NAME_BYTES_MAX: usize = 64;
/// Most components of a position vector.
pub const POSITION_VECTOR_COMPONENTS_MAX: usize = 4_096;
/// Rows of a page unless the request says otherwise.
pub const QUERY_PAGE_ROWS_DEFAULT: u32 = 50;
/// Most rows of a page.
pub const QUERY_PAGE_ROWS_MAX: u32 = 500;
/// Longest value of a query's parameter, bytes: above the longest name of anything.
pub const QUERY_PARAMETER_BYTES_MAX: usize = 1_024;
/// Longest cursor, bytes: above the text of the longest order columns (two names), signed.
pub const QUERY_CURSOR_BYTES_MAX: usize = 4_096;
/// Most characters of a client's unknown name that an error repeats.
pub const QUERY_ECHO_CHARS_MAX: usize = 64;

//! Every bound of this crate, with its unit in its name.

/// Largest body of one command, bytes.
pub const BODY_BYTES_MAX: usize = 256 << 10;
/// Smallest answer that is compressed for a client that asks for it, bytes.
pub const COMPRESSED_BYTES_MIN: u64 = 1_024;
/// Longest line of a batch, bytes without its line end.
pub const BATCH_LINE_BYTES_MAX: usize = 256 << 10;
/// Longest request head, bytes.
pub const HEAD_BYTES_MAX: usize = 32 << 10;
/// Longest wait for a complete request head, the idle time of a kept-alive connection included, milliseconds.
pub const HEAD_READ_MS: u64 = 30_000;
/// Longest wait for the complete body of one command, milliseconds.
pub const BODY_READ_MS: u64 = 10_000;
/// Longest wait for more bytes of a batch, milliseconds.
pub const BATCH_IDLE_MS: u64 = 30_000;
/// How long a write waits for a client that takes nothing, milliseconds; then its connection is cut.
pub const WRITE_STALL_MS: u64 = 30_000;
/// Most connections at a time; more wait in the listener's backlog.
pub const CONNECTIONS_MAX: usize = 1_024;
/// Most requests at a time, batches not counted; more are refused before any work is done.
pub const REQUESTS_MAX: usize = 512;
/// Most batches at a time.
pub const BATCHES_MAX: usize = 64;
/// Most commands of one batch at a time: what one group commit may take from one connection.
pub const BATCH_COMMANDS_MAX: usize = 64;
/// A request's deadline if it names none, milliseconds.
pub const DEADLINE_DEFAULT_MS: u64 = 10_000;
/// The latest deadline that a request may name, milliseconds.
pub const DEADLINE_MAX_MS: u64 = 30_000;
/// How long a query waits for its consistency token if the request names no deadline, milliseconds.
pub const CONSISTENCY_WAIT_DEFAULT_MS: u64 = 2_000;
/// Pause before the live generation is asked for again, where the one that was waited for has gone, milliseconds.
pub const CONSISTENCY_RETRY_MS: u64 = 20;
/// What `Retry-After` says where nobody knows better, milliseconds.
pub const RETRY_AFTER_MS: u64 = 1_000;
/// Events on a page of a history, if the request names no number.
pub const HISTORY_PAGE_DEFAULT: usize = 100;
/// Most events on a page of a history.
pub const HISTORY_PAGE_MAX: usize = 500;
/// Workspaces whose state is remembered.
pub const WORKSPACES_CACHED_MAX: usize = 10_000;
/// How long a workspace's state is remembered, milliseconds.
pub const WORKSPACE_CACHED_MS: u64 = 60_000;
/// Pause before the access context's log is followed again after a failure, milliseconds.
pub const FOLLOW_RETRY_MS: u64 = 500;
/// Pause after the system refused to accept a connection (out of file descriptors), milliseconds.
pub const ACCEPT_RETRY_MS: u64 = 50;
/// How long open requests may go on after shutdown was asked for, milliseconds.
pub const DRAIN_MS: u64 = 1_500;
/// Longest bearer token, bytes.
pub const BEARER_BYTES_MAX: usize = 4_096;
/// Longest life of a development token, seconds.
pub const TOKEN_TTL_S_MAX: u64 = 400 * 24 * 3_600;
/// Difference between the clocks of issuer and server that is forgiven, seconds.
pub const TOKEN_LEEWAY_S: u64 = 30;
/// Most tokens whose signature is known to be good.
pub const TOKENS_VERIFIED_MAX: usize = 1_024;
/// Most roles of one token.
pub const TOKEN_ROLES_MAX: usize = 32;
/// Longest trace or request id taken from a header, bytes.
pub const TRACE_ID_BYTES_MAX: usize = 128;
/// Longest consistency token, characters: every component of a position vector with its longest offset.
pub const CONSISTENCY_TOKEN_BYTES_MAX: usize = 16 << 10;
/// Longest command type, bytes.
pub const COMMAND_TYPE_BYTES_MAX: usize = 256;
/// Longest `detail` of a problem, bytes: what a client sent and finds echoed there is cut in its middle.
pub const PROBLEM_DETAIL_BYTES_MAX: usize = 4_096;
/// Longest `field` of a problem, bytes.
pub const PROBLEM_FIELD_BYTES_MAX: usize = 256;
/// Longest `adr_id`, bytes.
pub const ADR_ID_BYTES_MAX: usize = 256;
/// Longest wait for a connection to another node, milliseconds.
pub const PEER_CONNECT_MS: u64 = 1_000;
/// Longest wait for another node's answer before somebody else is asked, milliseconds: commands are answered, not repeated.
pub const PEER_ANSWER_MS: u64 = 5_000;
/// Pause before an owner is looked for again, milliseconds.
pub const PEER_RETRY_MS: u64 = 50;
/// How long a connection to another node is kept for the next request, milliseconds.
pub const PEER_IDLE_MS: u64 = 20_000;
/// Most idle connections kept to one node.
pub const PEER_IDLE_CONNECTIONS_MAX: usize = 64;
/// Largest refusal of another node, bytes.
pub const PEER_PROBLEM_BYTES_MAX: usize = 64 << 10;
/// Largest answer of another node that is read here, bytes: those of a batch's lines.
pub const PEER_ANSWER_BYTES_MAX: usize = 64 << 20;
/// How long a node's own token lasts with which it asks another node about a workspace, seconds.
pub const NODE_TOKEN_S: u64 = 60;
/// Most further looks whether a data directory is free to be served.
pub const LOCK_LOOKS_MAX: u32 = 5;
/// Pause before each of these looks, milliseconds.
pub const LOCK_LOOK_AGAIN_MS: u64 = 20;
/// How often a node that starts looks whether every partition has an owner, milliseconds.
pub const READY_POLL_MS: u64 = 20;
/// How long the token in `endpoint.json` is good for, seconds.
pub const ENDPOINT_TOKEN_S: u64 = 30 * 24 * 3_600;

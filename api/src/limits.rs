//! Every bound of this crate, with its unit in its name.

/// Largest body of one command, bytes.
pub const BODY_BYTES_MAX: usize = 256 << 10;
/// Smallest answer that is compressed for a client that asks for it, bytes.
pub const COMPRESSED_BYTES_MIN: u64 = 1_024;
/// Longest line of a batch, bytes without its line end.
pub const BATCH_LINE_BYTES_MAX: usize = 256 << 10;
/// Longest request head, bytes.
pub const HEAD_BYTES_MAX: usize = 32 << 10;
/// Most headers of one request; hyper's own bound, which costs nothing as long as nobody sets another one.
pub const HEADERS_MAX: usize = 100;
/// What is read of a head at most, bytes.
pub const HEAD_BUFFER_BYTES_MAX: usize = 64 << 10;
/// What the system may keep of answers that one client does not take, bytes; it keeps as much again for itself.
pub const SEND_BUFFER_BYTES: usize = 128 << 10;
/// Most connections whose clients take nothing at a time; the one that has taken nothing for the longest is cut first.
pub const STALLED_CONNECTIONS_MAX: usize = 128;
/// How long it is read behind the last answer on a connection, milliseconds.
pub const LINGER_MS: u64 = 1_000;
/// How much is read behind the last answer on a connection, bytes.
pub const LINGER_BYTES_MAX: usize = 1 << 20;
/// Longest wait for a complete request head, the idle time of a kept-alive connection included, milliseconds.
pub const HEAD_READ_MS: u64 = 30_000;
/// Longest wait for the complete body of one command, milliseconds.
pub const BODY_READ_MS: u64 = 10_000;
/// Longest wait for a batch's next command, milliseconds.
pub const BATCH_IDLE_MS: u64 = 30_000;
/// How long a write waits for a client that takes nothing, milliseconds; then its connection is cut.
pub const WRITE_STALL_MS: u64 = 30_000;
/// Most connections at a time, where the process may have enough open files; when all are there, the one that has been
/// idle for the longest makes room.
pub const CONNECTIONS_MAX: usize = 4_096;
/// Fewest connections at a time, however few open files the process may have.
pub const CONNECTIONS_MIN: usize = 64;
/// Connections above those, for health and for saying that there is no room.
pub const CONNECTIONS_RESERVED: usize = 64;
/// Open files that a process keeps for itself: logs, stores, indexes, brokers, other nodes.
pub const DESCRIPTORS_OWN: usize = 256;
/// Pause before it is looked again whether a connection can make room, milliseconds.
pub const ROOM_LOOK_MS: u64 = 20;
/// Connections that wait to be accepted; the system cuts it to `net.core.somaxconn`.
pub const BACKLOG_CONNECTIONS: i32 = 4_096;
/// Most single commands at owners in this process at a time. One partition takes a good quarter of these and all of
/// [`BATCHES_COMMANDS_MAX`], about what its owner's queue holds.
pub const COMMANDS_MAX: usize = 1_536;
/// Fewest of them, however few connections there may be: what makes one append large.
pub const COMMANDS_MIN: usize = 512;
/// Most questions at a time how the read models fare.
pub const OVERVIEWS_MAX: usize = 32;
/// Most questions to the registry's surface at a time.
pub const REGISTRY_REQUESTS_MAX: usize = 64;
/// Fewest places for any other kind of work.
pub const PLACES_MIN: usize = 32;
/// Longest wait for a place, milliseconds.
pub const PLACE_WAIT_MS: u64 = 1_500;
/// How late a client is told that there is too much to do, milliseconds: so often it can come back at most.
pub const TOLD_OFF_PAUSE_MS: u64 = 500;
/// What one place for a body holds, bytes; bodies that came with their head need none up to here.
pub const BODY_PLACE_BYTES: usize = 16 << 10;
/// How long the log's own description of its schemas is good for, milliseconds.
pub const REGISTRY_CACHED_MS: u64 = 1_000;
/// Longest wait for it, milliseconds.
pub const REGISTRY_READ_MS: u64 = 2_000;
/// Most batches at a time, half of them of one tenant.
pub const BATCHES_MAX: usize = 128;
/// How long a batch may be without a command before it makes room for another one, where there is none left, milliseconds.
pub const BATCH_GIVES_WAY_MS: u64 = 1_000;
/// What all batches together keep of answers that their clients have not taken, bytes; one alone may keep half of it.
pub const BATCHES_UNREAD_BYTES_MAX: usize = 128 << 20;
/// How long a batch whose answers fill that waits for its client to take one, milliseconds; then no more lines are read.
pub const BATCH_UNREAD_MS: u64 = 5_000;
/// How much of a batch is taken and thrown away once no more lines are read, bytes: the client may read what it was told
/// only when it has sent everything.
pub const BATCH_REST_BYTES_MAX: u64 = 64 << 20;
/// How long the rest of a batch is waited for, milliseconds.
pub const BATCH_REST_MS: u64 = 10_000;
/// Most commands of one batch at a time: what one group commit may take from one connection.
pub const BATCH_COMMANDS_MAX: usize = 64;
/// Most commands of all batches at a time, but for [`BATCH_COMMANDS_MIN`] of each.
pub const BATCHES_COMMANDS_MAX: usize = 576;
/// Most commands of one batch at a time where there are many batches.
pub const BATCH_COMMANDS_MIN: usize = 4;
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
/// Longest wait for another node's answer, and for the next piece of one that has begun, before somebody else is asked,
/// milliseconds: commands are answered, not repeated.
pub const PEER_ANSWER_MS: u64 = 5_000;
/// What of another node's answer is read before its client is told anything, bytes: in a shorter one the node cannot go
/// silent without another one being asked.
pub const PEER_ANSWER_WHOLE_BYTES: usize = 1 << 20;
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

//! Between a client and a broker: hands on every request and every answer, and on demand holds a request back or loses
//! an answer. For what no signal can bring about: a commit that happened, and of which its sender never hears.

use std::collections::{HashSet, VecDeque};
use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use anyhow::ensure;

/// Longest wait for a request that must come.
const PATIENCE: Duration = Duration::from_secs(30);
/// Largest request or answer that is handed on.
const FRAME_BYTES_MAX: usize = 64 << 20;

/// The kind of a request, as the protocol numbers it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ApiKey(pub u16);

/// The end of a transaction: a commit, or an abort.
pub const END_TXN: ApiKey = ApiKey(26);
/// The begin of a claim: whoever wrote as this producer before may write no more.
pub const INIT_PRODUCER_ID: ApiKey = ApiKey(22);

/// What happens to a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// It reaches the broker only when the test lets go of it.
    Hold,
    /// It reaches the broker; its answer is lost, and the connection with it.
    LoseAnswer,
}

/// Hands on what comes to its port.
#[derive(Debug)]
pub struct Relay {
    port: u16,
    faults: Arc<Faults>,
}

#[derive(Debug, Default)]
struct Faults {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    /// For the next requests of these kinds, the oldest first.
    armed: VecDeque<(ApiKey, Fault)>,
    /// How many requests are held back now.
    held: usize,
    /// Goes up when all that is held is let go.
    released: u64,
}

impl Faults {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The fault that waits for a request of this kind.
    fn take(&self, key: ApiKey) -> Option<Fault> {
        let mut state = self.lock();
        let is_next = state.armed.front().is_some_and(|(armed, _)| *armed == key);
        let taken = if is_next { state.armed.pop_front() } else { None };
        self.changed.notify_all();
        taken.map(|(_, fault)| fault)
    }

    /// Returns when the test lets go.
    fn hold(&self) {
        let mut state = self.lock();
        let before = state.released;
        state.held += 1;
        self.changed.notify_all();
        while state.released == before {
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        state.held -= 1;
    }
}

impl Relay {
    /// Listens on a port of its own, and connects to `broker` for each connection that comes.
    pub(super) fn start(listener: TcpListener, broker: u16) -> anyhow::Result<Self> {
        let port = listener.local_addr()?.port();
        let faults = Arc::new(Faults::default());
        let shared = Arc::clone(&faults);
        // It ends with the process: the listener lives as long as clients may come.
        std::thread::Builder::new().name("relay".into()).spawn(move || {
            for client in listener.incoming().flatten() {
                // One that cannot be connected is closed; its client tries again.
                let _ = connect(client, broker, &shared);
            }
        })?;
        Ok(Self { port, faults })
    }

    /// Where clients reach the broker through it.
    pub(super) const fn port(&self) -> u16 {
        self.port
    }

    /// The next requests of these kinds meet these faults, one each, in this order.
    pub fn arm(&self, faults: &[(ApiKey, Fault)]) {
        self.faults.lock().armed.extend(faults);
    }

    /// Returns when a request is held back.
    pub fn wait_until_held(&self) -> anyhow::Result<()> {
        let deadline = Instant::now() + PATIENCE;
        let mut state = self.faults.lock();
        while state.held == 0 {
            let left = deadline.saturating_duration_since(Instant::now());
            ensure!(!left.is_zero(), "no request was held back within {PATIENCE:?}: {state:?}");
            (state, _) = self.faults.changed.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner);
        }
        Ok(())
    }

    /// Hands on everything that is held back.
    pub fn let_go(&self) {
        self.faults.lock().released += 1;
        self.faults.changed.notify_all();
    }
}

/// Both directions of one connection, each on a thread of its own.
fn connect(client: TcpStream, broker: u16, faults: &Arc<Faults>) -> anyhow::Result<()> {
    let broker = TcpStream::connect(("127.0.0.1", broker))?;
    client.set_nodelay(true)?;
    broker.set_nodelay(true)?;
    let lost: Arc<Mutex<HashSet<[u8; 4]>>> = Arc::default();
    let (requests, answers) = ((client.try_clone()?, broker.try_clone()?), (broker, client));
    let (faults, losing) = (Arc::clone(faults), Arc::clone(&lost));
    std::thread::Builder::new().name("relay requests".into()).spawn(move || {
        let (mut from, mut to) = requests;
        while let Some(frame) = read_frame(&mut from) {
            let key = ApiKey(u16::from_be_bytes([frame[4], frame[5]]));
            match faults.take(key) {
                Some(Fault::Hold) => faults.hold(),
                Some(Fault::LoseAnswer) => {
                    let mut lost = losing.lock().unwrap_or_else(PoisonError::into_inner);
                    lost.insert([frame[8], frame[9], frame[10], frame[11]]);
                }
                None => {}
            }
            if to.write_all(&frame).is_err() {
                break;
            }
        }
        close(&from, &to);
    })?;
    std::thread::Builder::new().name("relay answers".into()).spawn(move || {
        let (mut from, mut to) = answers;
        while let Some(frame) = read_frame(&mut from) {
            let correlation = [frame[4], frame[5], frame[6], frame[7]];
            let is_lost = lost.lock().unwrap_or_else(PoisonError::into_inner).contains(&correlation);
            if is_lost || to.write_all(&frame).is_err() {
                break;
            }
        }
        close(&from, &to);
    })?;
    Ok(())
}

/// One request or answer with the length before it; nothing where the connection ends.
fn read_frame(from: &mut TcpStream) -> Option<Vec<u8>> {
    let mut length = [0; 4];
    from.read_exact(&mut length).ok()?;
    let bytes = usize::try_from(u32::from_be_bytes(length)).ok()?;
    if !(8..=FRAME_BYTES_MAX).contains(&bytes) {
        return None;
    }
    let mut frame = vec![0; 4 + bytes];
    frame[..4].copy_from_slice(&length);
    from.read_exact(&mut frame[4..]).ok()?;
    Some(frame)
}

fn close(one: &TcpStream, other: &TcpStream) {
    // Closed already, maybe.
    let _ = one.shutdown(Shutdown::Both);
    let _ = other.shutdown(Shutdown::Both);
}

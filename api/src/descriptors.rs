//! Open files: how many this process may have, and how many connections that leaves room for.

use nix::sys::resource::{Resource, getrlimit, setrlimit};

use crate::limits;

/// Raises what the process may have open to what it is allowed to ask for, and says how many that is. Most systems begin
/// with 1,024, fewer than the connections that one server takes.
pub(crate) fn raise() -> u64 {
    let Ok((soft, hard)) = getrlimit(Resource::RLIMIT_NOFILE) else { return FALLBACK };
    // More than anything here opens; some systems allow a billion, and others refuse "unlimited".
    let wanted = hard.min(WANTED).max(soft);
    if wanted > soft
        && let Err(error) = setrlimit(Resource::RLIMIT_NOFILE, wanted, hard)
    {
        tracing::warn!(%error, soft, "the limit of open files cannot be raised");
        return soft;
    }
    wanted
}

/// What there is at least where nobody can be asked.
const FALLBACK: u64 = 1_024;
/// Connections of clients and to other nodes, and what stores and brokers need.
const WANTED: u64 = 16_384;

/// What went wrong, with the true cause if it is that the process is out of open files: most libraries call it something
/// else. Asked only where something went wrong.
pub(crate) fn explained(what: String) -> String {
    const OUT_OF_FILES: i32 = nix::errno::Errno::EMFILE as i32;
    match std::fs::File::open("/dev/null") {
        Err(error) if error.raw_os_error() == Some(OUT_OF_FILES) => {
            format!("{what}; the process is out of open files: raise LimitNOFILE of its unit, or `ulimit -n`")
        }
        Ok(_) | Err(_) => what,
    }
}

/// The connections that the process's open files leave room for.
pub(crate) fn connections() -> usize {
    let soft = getrlimit(Resource::RLIMIT_NOFILE).map_or(FALLBACK, |(soft, _)| soft);
    connections_of(soft)
}

fn connections_of(descriptors: u64) -> usize {
    let descriptors = usize::try_from(descriptors).unwrap_or(usize::MAX);
    let own = limits::DESCRIPTORS_OWN + limits::CONNECTIONS_RESERVED;
    // Half of very few: both have to live.
    let left = descriptors.saturating_sub(own).max(descriptors / 4);
    left.clamp(limits::CONNECTIONS_MIN, limits::CONNECTIONS_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_leave_the_process_the_files_that_it_needs_itself() {
        for (descriptors, connections) in [(16_384, 4_096), (4_416, 4_096), (1_024, 704), (512, 192), (100, 64)] {
            assert_eq!(connections_of(descriptors), connections, "{descriptors}");
        }
    }

    #[test]
    fn the_soft_limit_is_raised_to_what_is_allowed() {
        let raised = raise();
        let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
        assert_eq!(raised, soft);
        assert!(soft >= hard.min(WANTED), "{soft} of {hard}");
    }
}

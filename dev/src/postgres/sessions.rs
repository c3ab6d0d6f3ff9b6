//! What a server's sessions do, as the system sees it: also while the server is stopped, or too busy to be asked.

use std::collections::HashSet;
use std::fs;
use std::path::PathBuf;

use super::processes::children;

/// TCP state of a connection that the other side has closed, and this side has not.
const CLOSE_WAIT: &str = "08";
/// What a session's title ends with before it belongs to anybody.
const BEGINNING: [&str; 3] = ["authentication", "startup", "initializing"];

/// Looks at the sessions of one role, whatever becomes of the server.
#[derive(Clone, Debug)]
pub struct SessionProbe {
    pub(super) pid_file: PathBuf,
    pub(super) port: u16,
    pub(super) role: String,
}

/// The sessions of a role, at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sessions {
    /// All of them.
    pub open: usize,
    /// Those whose client has closed its connection: the server works for nobody there.
    pub left_behind: usize,
}

impl SessionProbe {
    /// The sessions now; none while the server does not run.
    pub fn look(&self) -> Sessions {
        let pid = fs::read_to_string(&self.pid_file).ok().and_then(|text| text.lines().next()?.trim().parse().ok());
        let Some(pid) = pid else { return Sessions::default() };
        let closed = clients_gone(&fs::read_to_string("/proc/net/tcp").unwrap_or_default(), self.port);
        let mut found = Sessions::default();
        for session in children(pid) {
            let title = fs::read(format!("/proc/{session}/cmdline")).unwrap_or_default();
            let title = String::from_utf8_lossy(&title).trim_end_matches('\0').trim().to_owned();
            let Some(client) = client_of(&title, &self.role) else { continue };
            found.open += 1;
            found.left_behind += usize::from(closed.contains(&client));
        }
        found
    }
}

/// The port of the client whose session has this title, if it is the role's and has begun.
fn client_of(title: &str, role: &str) -> Option<u16> {
    let mut words = title.strip_prefix("postgres: ")?.split(' ');
    let (user, _database, client) = (words.next()?, words.next()?, words.next()?);
    if user != role || words.next().is_some_and(|state| BEGINNING.contains(&state)) {
        return None;
    }
    client.strip_suffix(')')?.rsplit_once('(')?.1.parse().ok()
}

/// Ports of clients that have closed their connection to this server's port, which has not closed it yet.
fn clients_gone(table: &str, server: u16) -> HashSet<u16> {
    let port = |address: &str| u16::from_str_radix(address.rsplit_once(':')?.1, 16).ok();
    let lines = table.lines().skip(1).filter_map(|line| {
        let mut fields = line.split_whitespace().skip(1);
        let (local, remote, state) = (fields.next()?, fields.next()?, fields.next()?);
        (state == CLOSE_WAIT && port(local)? == server).then(|| port(remote))?
    });
    lines.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_title_names_role_and_client() {
        assert_eq!(client_of("postgres: annals_0 annals_0 127.0.0.1(40812) idle", "annals_0"), Some(40_812));
        assert_eq!(client_of("postgres: annals_0 annals_0 127.0.0.1(40812) idle", "annals_1"), None);
        assert_eq!(client_of("postgres: annals_0 annals_0 127.0.0.1(7) startup", "annals_0"), None);
        assert_eq!(client_of("postgres: annals_0 annals_0 127.0.0.1(7) INSERT waiting", "annals_0"), Some(7));
        assert_eq!(client_of("postgres: checkpointer", "annals_0"), None);
    }

    #[test]
    fn only_the_servers_side_of_a_connection_tells_that_its_client_has_gone() {
        let table = "  sl  local_address rem_address   st\n\
                     0: 0100007F:1538 0100007F:9F6C 08 0\n\
                     1: 0100007F:1538 0100007F:9F6D 01 0\n\
                     2: 0100007F:9F6E 0100007F:1538 08 0\n";
        assert_eq!(clients_gone(table, 0x1538), HashSet::from([0x9F6C]));
    }
}

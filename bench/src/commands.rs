//! The commands that clients send: an application is registered, releases two versions, is retired, and the next one is
//! registered. Every command is accepted and makes one event.

use std::cell::Cell;
use std::io::Write as _;

use annals_model::ids::{Scope, TenantId, WorkspaceId};
use annals_schemas::contexts::PORTFOLIO;
use uuid::Uuid;

use crate::client::Requests;

/// Names of the steps, as in the address.
const STEPS: [&str; 4] = ["register", "release_version", "release_version", "retire"];

/// Ids that look random and are the same for the same seed and number.
pub(crate) fn id(seed: u64, number: u64) -> Uuid {
    // Odd, so that all numbers differ; spread over the key space, as random ids are.
    const SPREAD: u128 = 0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835;
    Uuid::from_u128((u128::from(seed) << 64 | u128::from(number)).wrapping_mul(SPREAD))
}

/// The tenant of everything.
pub(crate) fn tenant(seed: u64) -> TenantId {
    TenantId(id(seed, u64::MAX))
}

/// One workspace per partition of the portfolio, so that all of them have the same to do.
pub(crate) fn workspaces(seed: u64, partitions: u16) -> Vec<WorkspaceId> {
    workspaces_each(seed, partitions, 1)
}

/// So many workspaces per partition; the first `partitions` of them lie in one each.
pub(crate) fn workspaces_each(seed: u64, partitions: u16, each: usize) -> Vec<WorkspaceId> {
    let of = |number| WorkspaceId(id(seed, number));
    (0..each)
        .flat_map(|nth| (0..partitions).map(move |partition| (nth, partition)))
        .map(|(nth, partition)| {
            let lies_there = |workspace: &WorkspaceId| {
                let scope = Scope { tenant: tenant(seed), workspace: *workspace };
                scope.slot().partition(partitions).0 == partition
            };
            // Workspaces count down from the other end of the numbers, applications up.
            let found = (1..).map(|number| of(u64::MAX - number)).filter(lies_there).nth(nth);
            found.unwrap_or_else(|| unreachable!("ids without end for {PORTFOLIO}"))
        })
        .collect()
}

/// A request of a client that may do everything.
pub(crate) fn post(path: &str, token: &str, body: &[u8], out: &mut Vec<u8>) {
    // Writing into memory cannot fail.
    let _ = write!(
        out,
        "POST {path} HTTP/1.1\r\nHost: bench\r\nAuthorization: Bearer {token}\r\nContent-Type: application/json\r\n\
         Content-Length: {}\r\n\r\n",
        body.len()
    );
    out.extend_from_slice(body);
}

/// What one client sends.
#[derive(Debug)]
pub(crate) struct Commands {
    /// Heads of the steps' requests, up to the length.
    heads: [String; 4],
    workspace: WorkspaceId,
    seed: u64,
    /// Of the next application. No two clients have a number in common.
    number: u64,
    step: usize,
    body: Vec<u8>,
}

impl Commands {
    /// Numbers of applications per client.
    const NUMBERS: u64 = 1 << 32;

    /// `client` counts all clients of a run, of all turns.
    pub(crate) fn new(seed: u64, client: u64, workspace: WorkspaceId, token: &str) -> Self {
        let heads = STEPS.map(|step| {
            let mut head = Vec::new();
            post(&format!("/v1/commands/portfolio.application.{step}"), token, b"", &mut head);
            String::from_utf8_lossy(&head).trim_end_matches("0\r\n\r\n").to_owned()
        });
        Self { heads, workspace, seed, number: client * Self::NUMBERS, step: 0, body: Vec::new() }
    }
}

impl Commands {
    /// Puts the next command as a line of a batch behind those that are in `out`.
    pub(crate) fn next_line(&mut self, out: &mut Vec<u8>) {
        self.body.clear();
        // Writing into memory cannot fail.
        let _ = write!(self.body, r#"{{"type":"portfolio.application.{}","#, STEPS[self.step]);
        self.put_fields();
        self.body.push(b'\n');
        out.extend_from_slice(&self.body);
    }

    /// Puts the next command's fields behind what the body begins with, and goes on to the one after it.
    fn put_fields(&mut self) {
        let Self { workspace, seed, number, step, .. } = *self;
        let application = id(seed, number);
        // Writing into memory cannot fail.
        let _ = write!(
            self.body,
            r#""client_request_id":"bench-{number}-{step}","workspace_id":"{workspace}","aggregate_id":"{application}","payload":"#
        );
        let _ = match step {
            0 => write!(
                self.body,
                r#"{{"name":"application-{number}","criticality":"medium","source":"registry+crates.io"}}}}"#
            ),
            3 => write!(self.body, r#"{{"force":false}}}}"#),
            _ => write!(self.body, r#"{{"number":"{step}.{}.0"}}}}"#, number % 100),
        };
        self.step = (step + 1) % STEPS.len();
        if self.step == 0 {
            self.number += 1;
        }
    }
}

impl Requests for Commands {
    fn next(&mut self, out: &mut Vec<u8>) {
        let step = self.step;
        self.body.clear();
        self.body.push(b'{');
        self.put_fields();
        // Writing into memory cannot fail.
        let _ = write!(out, "{}{}\r\n\r\n", self.heads[step], self.body.len());
        out.extend_from_slice(&self.body);
    }
}

/// Makes clients, no two of which ever send the same.
#[derive(Debug)]
pub(crate) struct Clients {
    seed: u64,
    token: String,
    workspaces: Vec<WorkspaceId>,
    made: Cell<u64>,
}

impl Clients {
    pub(crate) fn new(seed: u64, workspaces: &[WorkspaceId], token: &str) -> Self {
        Self { seed, token: token.to_owned(), workspaces: workspaces.to_owned(), made: Cell::new(0) }
    }

    /// So many, spread over the workspaces.
    pub(crate) fn make(&self, count: usize) -> Vec<Commands> {
        let first = self.made.get();
        let each = (first..).zip(self.workspaces.iter().cycle()).take(count);
        let made: Vec<_> =
            each.map(|(number, workspace)| Commands::new(self.seed, number, *workspace, &self.token)).collect();
        self.made.set(first + count as u64);
        made
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_partition_has_a_workspace() {
        let partitions: Vec<u16> = workspaces(1, 4)
            .into_iter()
            .map(|workspace| Scope { tenant: tenant(1), workspace }.slot().partition(4).0)
            .collect();
        assert_eq!(partitions, [0, 1, 2, 3]);
    }

    #[test]
    fn bodies_are_json_of_the_length_that_is_said() {
        let mut commands = Commands::new(1, 3, WorkspaceId(id(1, 1)), "token");
        for step in ["register", "release_version", "release_version", "retire", "register"] {
            let mut request = Vec::new();
            commands.next(&mut request);
            let text = String::from_utf8(request).unwrap();
            let (head, body) = text.split_once("\r\n\r\n").unwrap();
            assert!(
                head.starts_with(&format!("POST /v1/commands/portfolio.application.{step} HTTP/1.1\r\n")),
                "{head}"
            );
            assert!(head.ends_with(&format!("Content-Length: {}", body.len())), "{head}");
            assert!(serde_json::from_str::<serde_json::Value>(body).unwrap()["payload"].is_object());
        }
    }

    #[test]
    fn lines_are_json_that_names_the_command_and_spread_workspaces_differ() {
        let mut commands = Commands::new(1, 3, WorkspaceId(id(1, 1)), "token");
        let mut lines = Vec::new();
        for _ in 0..8 {
            commands.next_line(&mut lines);
        }
        let lines = String::from_utf8(lines).unwrap();
        let parsed: Vec<serde_json::Value> = lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(parsed.len(), 8);
        assert_eq!(parsed[0]["type"], "portfolio.application.register");
        assert_eq!(parsed[3]["payload"]["force"], false);
        let eight: std::collections::BTreeSet<_> = workspaces_each(1, 4, 2).into_iter().collect();
        assert_eq!(eight.len(), 8);
        assert_eq!(workspaces_each(1, 4, 2)[..4], workspaces(1, 4));
    }

    #[test]
    fn no_two_clients_or_turns_send_the_same() {
        let mut seen = std::collections::HashSet::new();
        let clients = Clients::new(1, &workspaces(1, 4), "token");
        for _ in 0..3 {
            for mut client in clients.make(7) {
                for _ in 0..8 {
                    let mut request = Vec::new();
                    client.next(&mut request);
                    assert!(seen.insert(request));
                }
            }
        }
    }
}

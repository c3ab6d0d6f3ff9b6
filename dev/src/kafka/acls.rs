//! What a user of a secured cluster may do: the one request of the protocol that makes a grant, written by hand, because
//! the tool for it is not among the broker's jar files.

use std::io::{Read, Write};
use std::net::TcpStream;

use anyhow::{Context, ensure};

/// What a grant is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Resource {
    /// Topics whose names begin like this.
    Topics,
    /// Consumer groups.
    Groups,
    /// Transactional ids.
    TransactionalIds,
}

impl Resource {
    const fn number(self) -> u8 {
        match self {
            Self::Topics => 2,
            Self::Groups => 3,
            Self::TransactionalIds => 5,
        }
    }
}

const CREATE_ACLS: u16 = 30;
const VERSION: u16 = 1;
const PREFIXED: u8 = 4;
const ALL: u8 = 2;
const ALLOW: u8 = 3;

/// Lets `user` do everything with what begins with `prefix`.
pub(super) fn allow(port: u16, user: &str, resource: Resource, prefix: &str) -> anyhow::Result<()> {
    let mut request = Vec::new();
    request.extend(CREATE_ACLS.to_be_bytes());
    request.extend(VERSION.to_be_bytes());
    // Correlation, and a client id that is not there.
    request.extend([0, 0, 0, 1, 0xff, 0xff]);
    request.extend(1_u32.to_be_bytes());
    request.push(resource.number());
    put(&mut request, prefix)?;
    request.push(PREFIXED);
    put(&mut request, &format!("User:{user}"))?;
    put(&mut request, "*")?;
    request.extend([ALL, ALLOW]);
    let mut broker = TcpStream::connect(("127.0.0.1", port))?;
    broker.write_all(&u32::try_from(request.len())?.to_be_bytes())?;
    broker.write_all(&request)?;
    let mut length = [0; 4];
    broker.read_exact(&mut length).context("the broker does not take the request")?;
    let mut answer = vec![0; usize::try_from(u32::from_be_bytes(length))?];
    broker.read_exact(&mut answer)?;
    // Correlation, time to wait, how many results; then the first one's code.
    let code = answer.get(12..14).context("the broker's answer is too short")?;
    ensure!(code == [0, 0], "the grant was refused with code {code:?}");
    Ok(())
}

fn put(request: &mut Vec<u8>, text: &str) -> anyhow::Result<()> {
    request.extend(u16::try_from(text.len())?.to_be_bytes());
    request.extend(text.as_bytes());
    Ok(())
}

//! Where the next page begins: the last row's order columns, signed for exactly the asked that they came from.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;
use uuid::Uuid;

use super::{Given, Query};
use crate::ids::{TenantId, WorkspaceId};
use crate::limits;
use crate::projection::{Column, ColumnType, Float, OwnedValue};
use crate::time::Timestamp;

/// The secret that cursors are signed with. Every process of a deployment has the same, or pages end at a switch.
#[derive(Clone)]
pub struct CursorKey([u8; 32]);

impl CursorKey {
    /// Of 32 random bytes, or bytes derived from a secret.
    pub const fn new(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// A secret of its own for another purpose: what is made with it tells nothing about cursors, nor the other way round.
    pub fn derive(&self, purpose: &str) -> [u8; 32] {
        let mut mac = self.keyed();
        mac.update(purpose.as_bytes());
        mac.finalize().into_bytes().into()
    }

    fn keyed(&self) -> Hmac<Sha256> {
        <Hmac<Sha256>>::new_from_slice(&self.0).expect("HMAC takes keys of any length")
    }
}

impl fmt::Debug for CursorKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("CursorKey(secret)")
    }
}

/// What a cursor is valid for. The version of the read model is not part of it: pages go on over a promotion.
#[derive(Clone, Copy, Debug)]
pub(super) struct Asked<'a> {
    pub(super) query: &'static Query,
    pub(super) tenant: TenantId,
    pub(super) workspace: WorkspaceId,
    pub(super) given: &'a [Given],
}

const FORMAT: u8 = 1;
const MAC_BYTES: usize = 32;

impl CursorKey {
    /// The cursor behind a row with these order columns.
    pub(super) fn issue(&self, asked: Asked<'_>, last: &[OwnedValue]) -> String {
        let mut bytes = vec![FORMAT];
        last.iter().for_each(|value| put(&mut bytes, value));
        let mac = self.mac(asked, &bytes).finalize().into_bytes();
        bytes.extend_from_slice(&mac);
        URL_SAFE_NO_PAD.encode(bytes)
    }

    /// The order columns of a cursor that was issued for this asked; nothing for any other text.
    pub(super) fn open(&self, asked: Asked<'_>, cursor: &str) -> Option<Vec<OwnedValue>> {
        if cursor.len() > limits::QUERY_CURSOR_BYTES_MAX {
            return None;
        }
        let bytes = URL_SAFE_NO_PAD.decode(cursor).ok()?;
        let (signed, mac) = bytes.split_at_checked(bytes.len().checked_sub(MAC_BYTES)?)?;
        self.mac(asked, signed).verify_slice(mac).ok()?;
        let (&FORMAT, mut rest) = signed.split_first()? else { return None };
        let last = asked.query.order.iter().map(|column| take(&mut rest, column)).collect::<Option<_>>()?;
        rest.is_empty().then_some(last)
    }

    fn mac(&self, asked: Asked<'_>, signed: &[u8]) -> Hmac<Sha256> {
        let mut context = Vec::new();
        put_bytes(&mut context, b"annals query cursor");
        put_bytes(&mut context, asked.query.name.as_bytes());
        context.extend_from_slice(asked.tenant.as_bytes());
        context.extend_from_slice(asked.workspace.as_bytes());
        // The order, too: a version of the query that orders otherwise cannot go on from here.
        context.extend_from_slice(&(asked.query.order.len() as u32).to_be_bytes());
        for column in asked.query.order {
            put_bytes(&mut context, column.name.as_bytes());
        }
        context.extend_from_slice(&(asked.given.len() as u32).to_be_bytes());
        for given in asked.given {
            put_bytes(&mut context, given.parameter.name.as_bytes());
            put(&mut context, &given.value);
        }
        let mut mac = self.keyed();
        mac.update(&context);
        mac.update(signed);
        mac
    }
}

fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    out.extend_from_slice(&(bytes.len() as u32).to_be_bytes());
    out.extend_from_slice(bytes);
}

fn put(out: &mut Vec<u8>, value: &OwnedValue) {
    match value {
        OwnedValue::Null => out.push(0),
        OwnedValue::Bool(value) => out.extend_from_slice(&[1, u8::from(*value)]),
        OwnedValue::Int(value) => {
            out.push(2);
            out.extend_from_slice(&value.to_be_bytes());
        }
        OwnedValue::Text(text) => {
            out.push(3);
            put_bytes(out, text.as_bytes());
        }
        OwnedValue::Uuid(id) => {
            out.push(4);
            out.extend_from_slice(id.as_bytes());
        }
        OwnedValue::Timestamp(at) => {
            out.push(5);
            out.extend_from_slice(&at.0.to_be_bytes());
        }
        OwnedValue::Float(number) => {
            out.push(6);
            out.extend_from_slice(&number.to_be_bytes());
        }
        OwnedValue::Json(text) => {
            out.push(7);
            put_bytes(out, text.as_bytes());
        }
    }
}

fn take(rest: &mut &[u8], column: &Column) -> Option<OwnedValue> {
    let tag = take_array::<1>(rest)?[0];
    Some(match (tag, column.column_type) {
        (1, ColumnType::Bool) => OwnedValue::Bool(take_array::<1>(rest)?[0] != 0),
        (2, ColumnType::Int) => OwnedValue::Int(i64::from_be_bytes(take_array(rest)?)),
        (3, ColumnType::Text) => OwnedValue::Text(take_text(rest)?.into()),
        (4, ColumnType::Uuid) => OwnedValue::Uuid(Uuid::from_bytes(take_array(rest)?)),
        (5, ColumnType::Timestamp) => OwnedValue::Timestamp(Timestamp(i64::from_be_bytes(take_array(rest)?))),
        (6, ColumnType::Float) => OwnedValue::Float(Float::from_be_bytes(take_array(rest)?)?),
        (7, ColumnType::Json) => OwnedValue::Json(take_text(rest)?.into()),
        _ => return None,
    })
}

fn take_text<'a>(rest: &mut &'a [u8]) -> Option<&'a str> {
    let length = u32::from_be_bytes(take_array(rest)?) as usize;
    let (text, tail) = rest.split_at_checked(length)?;
    *rest = tail;
    std::str::from_utf8(text).ok()
}

fn take_array<const N: usize>(rest: &mut &[u8]) -> Option<[u8; N]> {
    let (array, tail) = rest.split_first_chunk::<N>()?;
    *rest = tail;
    Some(*array)
}

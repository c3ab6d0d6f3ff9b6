//! The RFC 8785 form of a JSON value, written without copying it: every command's fingerprint needs it.

use serde_json::{Number, Value};

/// Integers below this are the same as doubles, and written the same.
const INEXACT_MIN: u64 = 1 << 53;

/// Appends the canonical form. Depth is bounded by [`super::parse_strict`].
pub(super) fn put(value: &Value, out: &mut Vec<u8>) {
    match value {
        Value::Null => out.extend_from_slice(b"null"),
        Value::Bool(true) => out.extend_from_slice(b"true"),
        Value::Bool(false) => out.extend_from_slice(b"false"),
        Value::Number(number) => put_number(number, out),
        Value::String(text) => put_text(text, out),
        Value::Array(items) => {
            let mut open = b'[';
            for item in items {
                out.push(open);
                put(item, out);
                open = b',';
            }
            close(open, b'[', b']', out);
        }
        Value::Object(fields) => {
            let mut open = b'{';
            let mut field = |name: &str, value: &Value| {
                out.push(open);
                put_text(name, out);
                out.push(b':');
                put(value, out);
                open = b',';
            };
            // The order of names' bytes, in which maps are kept, is that of their UTF-16 units as long as all is ASCII.
            if fields.keys().all(|name| name.is_ascii()) && fields.keys().is_sorted() {
                fields.iter().for_each(|(name, value)| field(name, value));
            } else {
                let mut sorted: Vec<_> = fields.iter().collect();
                sorted.sort_by(|(one, _), (other, _)| one.encode_utf16().cmp(other.encode_utf16()));
                sorted.into_iter().for_each(|(name, value)| field(name, value));
            }
            close(open, b'{', b'}', out);
        }
    }
}

/// What was never opened is opened now.
fn close(open: u8, opening: u8, closing: u8, out: &mut Vec<u8>) {
    if open == opening {
        out.push(opening);
    }
    out.push(closing);
}

fn put_number(number: &Number, out: &mut Vec<u8>) {
    let exact = number.as_i64().is_some_and(|integer| integer.unsigned_abs() < INEXACT_MIN);
    // A number is finite, so neither way can fail.
    if exact {
        let _ = serde_json::to_writer(out, number);
    } else if let Ok(canonical) = serde_json_canonicalizer::to_vec(number) {
        out.extend_from_slice(&canonical);
    }
}

/// serde_json escapes what RFC 8785 wants escaped, in the same way.
fn put_text(text: &str, out: &mut Vec<u8>) {
    // Writing into memory cannot fail.
    let _ = serde_json::to_writer(out, text);
}

//! Values as people read them.

use serde_json::Value;
use uuid::Uuid;

/// One value in a table's cell: thousands apart, ids shortened, times to the second, in UTC, nothing as a dash.
pub fn human(value: &Value) -> String {
    match value {
        Value::Null => "–".to_owned(),
        Value::Bool(true) => "yes".to_owned(),
        Value::Bool(false) => "no".to_owned(),
        Value::Number(number) => match (number.as_i64(), number.as_f64()) {
            (Some(whole), _) => grouped(whole),
            (None, Some(double)) => format!("{double:.1}"),
            (None, None) => number.to_string(),
        },
        Value::String(text) => text_cell(text),
        Value::Array(items) if items.iter().all(|item| !item.is_object() && !item.is_array()) => {
            items.iter().map(human).collect::<Vec<_>>().join(", ")
        }
        Value::Object(fields) => {
            let given = fields.iter().filter(|(_, value)| !value.is_null());
            given.map(|(name, value)| format!("{name} {}", human(value))).collect::<Vec<_>>().join(", ")
        }
        Value::Array(_) => value.to_string(),
    }
}

fn text_cell(text: &str) -> String {
    if Uuid::parse_str(text).is_ok() {
        return short_id(text);
    }
    if let Some(id) = text.strip_prefix("user:") {
        return format!("user:{}", short_id(id));
    }
    match text.parse::<jiff::Timestamp>() {
        Ok(time) => time.strftime("%Y-%m-%d %H:%M:%SZ").to_string(),
        // Control characters would move the cursor of a terminal.
        Err(_) => text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect(),
    }
}

/// The first eight digits of an id: enough to tell rows apart; `-o json` has all of it.
pub fn short_id(id: &str) -> String {
    format!("{}…", id.get(..8).unwrap_or(id))
}

/// A text of at most so many characters, and a mark where more is left out.
pub fn shortened(text: &str, chars_max: usize) -> String {
    match text.char_indices().nth(chars_max) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

/// A whole number with its thousands apart: `12,345`.
pub fn grouped(number: i64) -> String {
    let digits = number.unsigned_abs().to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3 + 1);
    if number < 0 {
        text.push('-');
    }
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// [`grouped`] of a count.
pub fn count(number: u64) -> String {
    grouped(i64::try_from(number).unwrap_or(i64::MAX))
}

/// Bytes in the largest unit that leaves a number of at least one.
pub fn bytes(number: u64) -> String {
    const UNITS: [&str; 5] = ["B", "KiB", "MiB", "GiB", "TiB"];
    let mut value = number as f64;
    let mut unit = 0;
    while value >= 1024.0 && unit + 1 < UNITS.len() {
        value /= 1024.0;
        unit += 1;
    }
    if unit == 0 { format!("{number} B") } else { format!("{value:.1} {}", UNITS[unit]) }
}

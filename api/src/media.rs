//! Which of the forms that an answer has its client takes: `Accept`, as RFC 9110 (12.5.1) reads it.

use axum::http::HeaderMap;
use axum::http::header::ACCEPT;

use crate::problem::{Code, Problem};

/// The form to answer in: of those that the client takes, the one that it likes best, and the earlier of two that it likes
/// alike. Parameters of a media range, `charset` for instance, tell nothing here apart. What cannot be read in the header
/// names nothing.
pub(crate) fn negotiate(headers: &HeaderMap, offers: &[&'static str]) -> Result<&'static str, Problem> {
    let ranges: Vec<Range<'_>> = headers
        .get_all(ACCEPT)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| split(value, ','))
        .filter_map(Range::read)
        .collect();
    let says_nothing = headers.get_all(ACCEPT).iter().all(|value| value.as_bytes().trim_ascii().is_empty());
    let mut best: Option<(u16, &'static str)> = None;
    for offer in offers {
        let quality = if says_nothing { 1_000 } else { quality(&ranges, offer) };
        if quality > best.map_or(0, |(quality, _)| quality) {
            best = Some((quality, offer));
        }
    }
    best.map(|(_, offer)| offer).ok_or_else(|| {
        let detail = format!("the answer comes as {}; ask for one of these, or send no Accept", offers.join(" or as "));
        Problem::at(Code::NotAcceptable, "Accept", detail)
    })
}

/// One element of `Accept`.
struct Range<'a> {
    kind: &'a str,
    subtype: &'a str,
    /// In thousandths.
    quality: u16,
}

impl<'a> Range<'a> {
    fn read(element: &'a str) -> Option<Self> {
        let mut parts = split(element, ';');
        let (kind, subtype) = parts.next()?.trim().split_once('/')?;
        let is_token = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_graphic());
        if !is_token(kind) || !is_token(subtype) || (kind == "*" && subtype != "*") {
            return None;
        }
        let weight =
            parts.filter_map(|part| part.split_once('=')).find(|(name, _)| name.trim().eq_ignore_ascii_case("q"));
        let quality = weight.map_or(Some(1_000), |(_, value)| thousandths(value.trim()))?;
        Some(Self { kind, subtype, quality })
    }

    /// How closely it names a media type; nothing if it does not.
    fn closeness(&self, offer: &str) -> Option<u8> {
        let (kind, subtype) = offer.split_once('/')?;
        match (self.kind.eq_ignore_ascii_case(kind), self.subtype.eq_ignore_ascii_case(subtype)) {
            (true, true) => Some(2),
            (true, false) if self.subtype == "*" => Some(1),
            _ if self.kind == "*" => Some(0),
            _ => None,
        }
    }
}

/// What the range that names the offer most closely says of it; of two that are as close, the kinder.
fn quality(ranges: &[Range<'_>], offer: &str) -> u16 {
    let named = ranges.iter().filter_map(|range| Some((range.closeness(offer)?, range.quality)));
    named.max().map_or(0, |(_, quality)| quality)
}

/// `0`, `0.5`, `1.000`: at most three digits behind the point, at most 1.
fn thousandths(text: &str) -> Option<u16> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    if !matches!(whole, "0" | "1") || fraction.len() > 3 || !fraction.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let number: u16 = format!("{whole}{fraction:0<3}").parse().ok()?;
    (number <= 1_000).then_some(number)
}

/// Splits outside of quoted strings.
fn split(text: &str, separator: char) -> impl Iterator<Item = &str> {
    let mut quoted = false;
    text.split(move |character| {
        quoted ^= character == '"';
        character == separator && !quoted
    })
}

#[cfg(test)]
mod tests;

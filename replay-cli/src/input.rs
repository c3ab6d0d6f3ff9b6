//! Text that users hand over, in a file or on stdin: UTF-8, or refused by the line that is not.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use crate::exit::Failure;

/// What some editors put before a text to say that it is UTF-8.
const BYTE_ORDER_MARK: &[u8] = "\u{feff}".as_bytes();

/// A line that is not UTF-8. Nothing is made of it: letters that were guessed would be recorded for ever.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line} is not UTF-8 (its byte {byte}); convert the text first, as with `iconv -f latin1 -t utf-8`")]
pub struct NotUtf8 {
    /// Counted from 1.
    pub line: u64,
    /// The first byte that does not fit, counted from 1.
    pub byte: usize,
}

/// Bytes without the mark of UTF-8 before them.
pub fn unmarked(bytes: &[u8]) -> &[u8] {
    bytes.strip_prefix(BYTE_ORDER_MARK).unwrap_or(bytes)
}

/// Bytes as text, without the mark.
pub fn text(bytes: &[u8]) -> Result<&str, NotUtf8> {
    std::str::from_utf8(bytes).map(|text| text.strip_prefix('\u{feff}').unwrap_or(text)).map_err(|error| {
        let good = &bytes[..error.valid_up_to()];
        let begin = good.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
        let line = good.iter().filter(|byte| **byte == b'\n').count() as u64 + 1;
        NotUtf8 { line, byte: good.len() - begin + 1 }
    })
}

/// All of a source as text, up to a bound; `what` names it in errors, which are mistakes of the input.
pub fn read(what: &str, source: impl Read, bytes_max: u64) -> Result<String, Failure> {
    let mut bytes = Vec::new();
    let unreadable = |error: std::io::Error| Failure::usage(format!("{what} cannot be read: {error}"));
    source.take(bytes_max + 1).read_to_end(&mut bytes).map_err(unreadable)?;
    if bytes.len() as u64 > bytes_max {
        return Err(Failure::usage(format!("{what} is larger than {} KiB", bytes_max >> 10)));
    }
    text(&bytes).map(str::to_owned).map_err(|error| Failure::usage(format!("{what}: {error}")))
}

/// The same of a file.
pub fn read_file(path: &Path, bytes_max: u64) -> Result<String, Failure> {
    read(&path.display().to_string(), open(path)?, bytes_max)
}

/// Opens a file to read it; a directory is none.
pub fn open(path: &Path) -> Result<File, Failure> {
    let name = path.display();
    let file = File::open(path).map_err(|error| Failure::usage(format!("{name} cannot be read: {error}")))?;
    match file.metadata() {
        Ok(meta) if meta.is_dir() => Err(Failure::usage(format!("{name} is a directory; name a file"))),
        Ok(_) | Err(_) => Ok(file),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_that_is_not_utf_8_is_refused_by_its_line_and_byte() {
        assert_eq!(text("ä\nö".as_bytes()), Ok("ä\nö"));
        assert_eq!(text(b"ok\nM\xfcller\n"), Err(NotUtf8 { line: 2, byte: 2 }));
        assert_eq!(text(b"\xff\xfe{\0"), Err(NotUtf8 { line: 1, byte: 1 }));
        // Cut in the middle of a letter.
        assert_eq!(text(b"\n\n\xc3"), Err(NotUtf8 { line: 3, byte: 1 }));
    }

    #[test]
    fn the_mark_of_utf_8_is_no_part_of_the_text() {
        assert_eq!(text("\u{feff}{}".as_bytes()), Ok("{}"));
        assert_eq!(unmarked("\u{feff}{}".as_bytes()), b"{}");
        assert_eq!(text("\u{feff}".as_bytes()), Ok(""));
    }

    #[test]
    fn what_is_too_large_or_a_directory_is_a_mistake_of_the_input() {
        let failure = read("it", &[b'x'; 2_049][..], 2_048).unwrap_err();
        assert_eq!((failure.exit, failure.to_string().as_str()), (crate::exit::Exit::Usage, "it is larger than 2 KiB"));
        let directory = tempfile::tempdir().unwrap();
        let failure = read_file(directory.path(), 10).unwrap_err();
        assert!(failure.to_string().ends_with("is a directory; name a file"), "{failure}");
    }
}

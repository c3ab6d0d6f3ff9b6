//! A file of commands, one JSON object per line.

use std::collections::HashMap;
use std::fs::File;
use std::io::{BufRead, BufReader, Read, Seek};
use std::path::Path;

use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::ids::derive;
use super::{CommandLine, Line};
use crate::client::problem::Problem;
use crate::exit::Failure;
use crate::input::{self, text, unmarked};
use crate::limits;

/// The lines of a file as commands. The first pass counts the lines, the second sends them.
#[derive(Debug)]
pub struct Commands {
    reader: BufReader<File>,
    name: String,
    series: String,
    /// How often each content came already, by the first bytes of its hash.
    seen: HashMap<u64, u32>,
    number: u64,
    /// Lines that hold something.
    pub total: u64,
}

impl Commands {
    /// Opens a file; `-` is stdin, which is spooled to a temporary file, for it is read twice. Equal lines of two series
    /// are different commands.
    pub fn open(path: &Path, series: &str) -> Result<Self, Failure> {
        let (name, file) = if path.as_os_str() == "-" {
            let spooled = spool_stdin();
            ("stdin".to_owned(), spooled.map_err(|error| Failure::usage(format!("stdin cannot be read: {error}")))?)
        } else {
            (path.display().to_string(), input::open(path)?)
        };
        Self::of(name, file, series)
    }

    fn of(name: String, mut file: File, series: &str) -> Result<Self, Failure> {
        let unreadable = |error: std::io::Error| Failure::usage(format!("{name} cannot be read: {error}"));
        let (mut number, mut total) = (0, 0);
        let mut reader = BufReader::new(&mut file);
        let mut line = Vec::new();
        while read_line(&mut reader, &mut line).map_err(unreadable)? {
            number += 1;
            if line.len() > limits::LINE_BYTES_MAX {
                let most = limits::LINE_BYTES_MAX;
                return Err(Failure::usage(format!("{name}: line {number} is longer than {most} bytes")));
            }
            total += u64::from(!is_blank(&line));
        }
        if total > limits::IMPORT_LINES_MAX {
            let most = limits::IMPORT_LINES_MAX;
            return Err(Failure::usage(format!("{name} has {total} lines, more than {most}; split it")));
        }
        file.rewind().map_err(unreadable)?;
        let (reader, series) = (BufReader::new(file), series.to_owned());
        Ok(Self { reader, name, series, seen: HashMap::new(), number: 0, total })
    }

    fn next_line(&mut self) -> Result<Option<Line>, Failure> {
        let mut line = Vec::new();
        loop {
            let read = read_line(&mut self.reader, &mut line);
            if !read.map_err(|error| Failure::usage(format!("{} cannot be read: {error}", self.name)))? {
                return Ok(None);
            }
            self.number += 1;
            if !is_blank(&line) {
                return Ok(Some(self.command(&line)));
            }
        }
    }

    fn command(&mut self, line: &[u8]) -> Line {
        let label = format!("line {}", self.number);
        match text(line) {
            Ok(text) => {
                let line = self.with_request_id(text.trim());
                CommandLine { label, line, change: "" }.into()
            }
            Err(error) => {
                let detail = format!("byte {} of the line does not fit; convert the file first", error.byte);
                let problem = json!({"status": 400, "title": "Not UTF-8", "detail": detail});
                Line::Refused { label, problem: Box::new(Problem::read(400, None, problem)) }
            }
        }
    }

    /// The line with a request id of its own; a line that is no JSON object goes as it is, for the server to refuse
    /// under its number.
    fn with_request_id(&mut self, text: &str) -> String {
        let Ok(Value::Object(fields)) = serde_json::from_str::<Value>(text) else { return text.to_owned() };
        // That it is an object has just been seen.
        let Some(rest) = text.strip_prefix('{').map(str::trim_start) else { return text.to_owned() };
        if fields.contains_key("client_request_id") {
            return text.to_owned();
        }
        let id = self.request_id(&Value::Object(fields));
        // Put into the text, not into the parsed value: a duplicate field must reach the server as one.
        let comma = if rest.starts_with('}') { "" } else { "," };
        format!("{{\"client_request_id\":\"{id}\"{comma}{rest}")
    }

    /// Named after what the line says, however it is written, and which of the equal lines it is: it stays the same
    /// wherever the line stands, and whatever happens to the others.
    fn request_id(&mut self, content: &Value) -> uuid::Uuid {
        // The fields are in the order of their names.
        let hash = Sha256::digest(content.to_string());
        let mut short = [0; 8];
        short.copy_from_slice(&hash[..8]);
        let occurrence = self.seen.entry(u64::from_be_bytes(short)).or_insert(0);
        *occurrence += 1;
        let content: String = hash.iter().map(|byte| format!("{byte:02x}")).collect();
        derive(&["ndjson line", &self.series, &content, &occurrence.to_string()])
    }
}

impl Iterator for Commands {
    type Item = anyhow::Result<Line>;

    fn next(&mut self) -> Option<Self::Item> {
        self.next_line().map_err(anyhow::Error::from).transpose()
    }
}

fn is_blank(line: &[u8]) -> bool {
    unmarked(line).trim_ascii().is_empty()
}

/// Reads a line without its end; false at the end of the file. Of a line above the bound one byte more is read.
fn read_line(reader: &mut impl BufRead, line: &mut Vec<u8>) -> std::io::Result<bool> {
    line.clear();
    let read = reader.by_ref().take(limits::LINE_BYTES_MAX as u64 + 1).read_until(b'\n', line)?;
    if line.last() == Some(&b'\n') {
        line.pop();
    }
    Ok(read > 0)
}

fn spool_stdin() -> std::io::Result<File> {
    let mut file = tempfile::tempfile()?;
    std::io::copy(&mut std::io::stdin().lock(), &mut file)?;
    file.rewind()?;
    Ok(file)
}

#[cfg(test)]
mod tests;

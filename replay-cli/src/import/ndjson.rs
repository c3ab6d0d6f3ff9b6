//! A file of commands, one JSON object per line.

use std::fs::File;
use std::io::{BufRead, BufReader, Read, Seek};
use std::path::Path;

use anyhow::Context as _;
use serde_json::Value;
use sha2::{Digest, Sha256};

use super::CommandLine;
use super::ids::derive;
use crate::exit::Failure;
use crate::limits;

/// The lines of a file as commands. The first pass counts the lines and hashes the file, the second sends them.
#[derive(Debug)]
pub(crate) struct Commands {
    reader: BufReader<Box<dyn Source>>,
    hash: String,
    number: u64,
    /// Lines that hold a command.
    pub(crate) total: u64,
}

/// Something to read commands from: a file, or stdin spooled to one.
trait Source: Read + Send + std::fmt::Debug {}
impl<T: Read + Send + std::fmt::Debug> Source for T {}

impl Commands {
    /// Opens a file; `-` is stdin, which is spooled to a temporary file, for it is read twice.
    pub(crate) fn open(path: &Path) -> anyhow::Result<Self> {
        let opened =
            if path.as_os_str() == "-" { spool_stdin() } else { File::open(path).map_err(anyhow::Error::from) };
        let file = opened.map_err(|error| Failure::usage(format!("{} cannot be read: {error}", path.display())))?;
        Self::of(file).with_context(|| format!("{} cannot be read", path.display()))
    }

    fn of(mut file: File) -> anyhow::Result<Self> {
        let mut hasher = Sha256::new();
        let mut total = 0;
        let mut reader = BufReader::new(&mut file);
        let mut line = Vec::new();
        while read_line(&mut reader, &mut line)? {
            hasher.update(&line);
            hasher.update(b"\n");
            total += u64::from(!line.trim_ascii().is_empty());
        }
        file.rewind()?;
        let hash = hasher.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
        Ok(Self { reader: BufReader::new(Box::new(file)), hash, number: 0, total })
    }

    fn next_line(&mut self) -> anyhow::Result<Option<CommandLine>> {
        let mut line = Vec::new();
        loop {
            if !read_line(&mut self.reader, &mut line)? {
                return Ok(None);
            }
            self.number += 1;
            if !line.trim_ascii().is_empty() {
                let label = format!("line {}", self.number);
                let line = self.with_request_id(&line);
                return Ok(Some(CommandLine { label, line }));
            }
        }
    }

    /// The line with a request id of its own; a line that is no JSON object goes as it is, for the server to refuse
    /// under its number.
    fn with_request_id(&self, line: &[u8]) -> String {
        let text = String::from_utf8_lossy(line).trim().to_owned();
        let Ok(Value::Object(fields)) = serde_json::from_str::<Value>(&text) else { return text };
        if fields.contains_key("client_request_id") {
            return text;
        }
        let id = derive(&["ndjson", &self.hash, &self.number.to_string()]);
        // Put into the text, not into the parsed value: a duplicate field must reach the server as one.
        let rest = text.trim_start_matches('{').trim_start();
        let comma = if rest.starts_with('}') { "" } else { "," };
        format!("{{\"client_request_id\":\"{id}\"{comma}{rest}")
    }
}

impl Iterator for Commands {
    type Item = anyhow::Result<CommandLine>;

    fn next(&mut self) -> Option<Self::Item> {
        self.next_line().transpose()
    }
}

/// Reads a line without its end; false at the end of the file. A line above the bound is an error, not memory.
fn read_line(reader: &mut impl BufRead, line: &mut Vec<u8>) -> anyhow::Result<bool> {
    line.clear();
    let read = reader.by_ref().take(limits::LINE_BYTES_MAX as u64 + 1).read_until(b'\n', line)?;
    if line.len() > limits::LINE_BYTES_MAX {
        return Err(Failure::usage(format!("a line is longer than {} bytes", limits::LINE_BYTES_MAX)).into());
    }
    if line.last() == Some(&b'\n') {
        line.pop();
    }
    Ok(read > 0)
}

fn spool_stdin() -> anyhow::Result<File> {
    let mut file = tempfile::tempfile()?;
    std::io::copy(&mut std::io::stdin().lock(), &mut file)?;
    file.rewind()?;
    Ok(file)
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn commands(text: &str) -> Commands {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(text.as_bytes()).unwrap();
        file.rewind().unwrap();
        Commands::of(file).unwrap()
    }

    #[test]
    fn a_line_without_a_request_id_gets_the_same_one_each_time() {
        let text = "{\"type\":\"a.b.c\",\"payload\":{}}\n\n{ }\nnot json\n{\"client_request_id\":\"mine\"}";
        let read = || commands(text).map(|line| line.unwrap()).collect::<Vec<_>>();
        let lines = read();
        assert_eq!(lines, read());
        assert_eq!(commands(text).total, 4);
        let labels: Vec<&str> = lines.iter().map(|line| line.label.as_str()).collect();
        assert_eq!(labels, ["line 1", "line 3", "line 4", "line 5"]);
        let first: Value = serde_json::from_str(&lines[0].line).unwrap();
        assert_eq!(first["type"], "a.b.c");
        assert_eq!(first["client_request_id"].as_str().unwrap().len(), 36);
        let second: Value = serde_json::from_str(&lines[1].line).unwrap();
        assert_ne!(first["client_request_id"], second["client_request_id"]);
        assert_eq!(lines[2].line, "not json");
        assert_eq!(lines[3].line, "{\"client_request_id\":\"mine\"}");
    }

    #[test]
    fn another_file_has_other_request_ids() {
        let id = |text: &str| commands(text).next().unwrap().unwrap().line;
        assert_ne!(id("{\"a\":1}"), id("{\"a\":1}\n{\"a\":2}"));
    }

    #[test]
    fn a_line_above_the_bound_is_refused() {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(&vec![b'x'; limits::LINE_BYTES_MAX + 1]).unwrap();
        file.rewind().unwrap();
        assert!(Commands::of(file).unwrap_err().to_string().contains("longer than"));
    }
}

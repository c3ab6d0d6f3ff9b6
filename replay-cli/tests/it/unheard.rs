//! Nobody reads what a process says: it works, obeys signals and ends all the same. And nobody reads its results.

use std::fs::OpenOptions;
use std::io::{PipeReader, Write as _, pipe};
use std::process::{ExitStatus, Stdio};

use nix::sys::signal::Signal;

use crate::server::{Server, annals, run, signal, wait_until};

/// A stderr that nobody reads.
#[derive(Clone, Copy, Debug)]
enum Unread {
    /// The reader of the pipe has gone: a closed terminal.
    Gone,
    /// The reader is there and reads nothing, and the pipe is full.
    Stuck,
    /// Nothing can be written: a full disk.
    Full,
}

const ALL: [Unread; 3] = [Unread::Gone, Unread::Stuck, Unread::Full];

fn full_device() -> Stdio {
    OpenOptions::new().write(true).open("/dev/full").unwrap().into()
}

impl Unread {
    /// It, and what must be held for as long as it is to last.
    fn stderr(self) -> (Stdio, Option<PipeReader>) {
        match self {
            Self::Full => (full_device(), None),
            Self::Gone => {
                let (reader, writer) = pipe().unwrap();
                drop(reader);
                (writer.into(), None)
            }
            Self::Stuck => {
                let (reader, writer) = pipe().unwrap();
                let mut filler = writer.try_clone().unwrap();
                // Fills it, keeps it full, and ends with the reader.
                std::thread::spawn(move || while filler.write_all(&[b'.'; 4_096]).is_ok() {});
                (writer.into(), Some(reader))
            }
        }
    }
}

#[test]
fn a_server_whose_words_nobody_reads_starts_and_stops_in_good_order() {
    for unread in ALL {
        for asked in [Signal::SIGTERM, Signal::SIGINT] {
            let (stderr, held) = unread.stderr();
            let mut server = Server::with_stderr(tempfile::tempdir().unwrap(), &[], stderr);
            server.run(&["status"]).exits(0);
            signal(server.id(), asked);
            let mut ended: Option<ExitStatus> = None;
            wait_until("the server stops", || {
                ended = server.try_wait();
                ended.is_some()
            });
            assert_eq!(ended.and_then(|status| status.code()), Some(0), "{unread:?}, {asked}");
            drop(held);
        }
    }
}

/// Every verb with a command line that works on a server with something in it, in this order.
fn verbs(file: &str) -> Vec<Vec<&str>> {
    vec![
        vec!["import", "ndjson", file],
        vec!["command", "send", "access.workspace.create", "--payload", r#"{"name": "Home", "slug": "home"}"#],
        vec!["command", "send", "access.workspace.create", "--payload", "{"],
        vec!["query"],
        vec!["query", "access.workspaces", "--limit", "1"],
        vec!["history", "access.workspace", "home"],
        vec!["token", "mint"],
        vec!["endpoint"],
        vec!["endpoint", "--env"],
        vec!["log", "verify"],
        vec!["log", "stats"],
        vec!["config", "show"],
        vec!["status"],
        vec!["plan", "access"],
        vec!["rebuild", "access"],
        vec!["rebuild", "access", "--yes"],
        vec!["verify"],
        vec!["promote", "access"],
        vec!["rollback", "access"],
        vec!["drop", "access", "--generation", "2", "--yes"],
        vec!["completions", "bash"],
        vec!["nonsense"],
        vec!["help"],
    ]
}

#[test]
fn no_command_ends_otherwise_because_nobody_reads_its_words() {
    let files = tempfile::tempdir().unwrap();
    let file = files.path().join("commands.ndjson");
    let lines = [r#"{"type": "access.workspace.create", "payload": {"name": "A", "slug": "a"}}"#, "not json"];
    std::fs::write(&file, lines.join("\n")).unwrap();
    let verbs = verbs(file.to_str().unwrap());
    let help = run(files.path(), &["--help"]).exits(0).stdout();
    let named = help.lines().skip_while(|line| *line != "Commands:").skip(1).take_while(|line| !line.is_empty());
    for verb in named.filter_map(|line| line.split_whitespace().next()) {
        // These go on until they are stopped, and the demo is made of the others.
        let apart = ["up", "demo", "dev"].contains(&verb);
        assert!(apart || verbs.iter().any(|line| line[0] == verb), "{verb} is not tried");
    }
    let ends = |stderr: &dyn Fn() -> (Stdio, Option<PipeReader>)| -> Vec<Option<i32>> {
        let server = Server::start();
        let run = |arguments: &Vec<&str>| {
            let (stderr, held) = stderr();
            let mut child = annals(&server.data(), arguments).stdout(Stdio::null()).stderr(stderr).spawn().unwrap();
            let mut ended = None;
            wait_until(&format!("annals {} ends", arguments.join(" ")), || {
                ended = child.try_wait().unwrap();
                ended.is_some()
            });
            drop(held);
            ended.and_then(|status| status.code())
        };
        verbs.iter().map(run).collect()
    };
    let heard = ends(&|| (Stdio::null(), None));
    assert_eq!(heard.iter().filter(|code| **code == Some(0)).count(), verbs.len() - 4, "{heard:?}");
    for unread in ALL {
        assert_eq!(ends(&|| unread.stderr()), heard, "{unread:?}");
    }
}

#[test]
fn results_that_cannot_be_written_are_a_failure_and_a_reader_that_has_enough_is_none() {
    let server = Server::start();
    for arguments in [
        &["query"][..],
        &["query", "-o", "json"],
        &["status"],
        &["config", "show", "-o", "jsonl"],
        &["log", "verify"],
        &["verify"],
        &["plan", "access"],
        &["config", "show"],
        &["token", "mint"],
        &["endpoint", "--env"],
        &["completions", "zsh"],
        &["--help"],
        &["--version"],
    ] {
        let into = |stdout: Stdio| {
            let output = annals(&server.data(), arguments).stdout(stdout).stderr(Stdio::piped()).output().unwrap();
            (output.status.code(), String::from_utf8(output.stderr).unwrap())
        };
        let (code, words) = into(full_device());
        assert_eq!(code, Some(1), "{arguments:?}: {words}");
        assert!(words.contains("stdout cannot be written: No space left"), "{arguments:?}: {words}");
        let (reader, writer) = pipe().unwrap();
        drop(reader);
        let (code, words) = into(writer.into());
        assert_eq!(code, Some(0), "{arguments:?}: {words}");
        assert!(!words.contains("rror"), "{arguments:?}: {words}");
    }
}

#[test]
fn a_second_ctrl_c_ends_a_command_whose_results_nobody_reads() {
    let server = Server::start();
    for arguments in [&["verify", "-o", "json"][..], &["rebuild", "access", "--yes"]] {
        let (stdout, held) = Unread::Stuck.stderr();
        let mut child = annals(&server.data(), arguments).stdout(stdout).stderr(Stdio::null()).spawn().unwrap();
        let mut ended = None;
        wait_until("the command ends", || {
            ended = child.try_wait().unwrap();
            if ended.is_none() {
                signal(child.id(), Signal::SIGINT);
            }
            ended.is_some()
        });
        drop(held);
    }
}

//! A node that nobody hears.

use std::fs::OpenOptions;
use std::io::pipe;
use std::process::{Command, Stdio};

#[test]
fn a_node_whose_words_nobody_reads_ends_as_one_that_is_heard() {
    let directory = tempfile::tempdir().unwrap();
    // Not with a log in a file: it says why, and that it is a mistake of the command line.
    let ends = |stderr: Stdio| {
        let mut node = Command::new(env!("CARGO_BIN_EXE_annals-api"));
        node.arg("--data").arg(directory.path()).stdin(Stdio::null()).stdout(Stdio::null()).stderr(stderr);
        node.status().unwrap().code()
    };
    let gone = pipe().unwrap().1;
    let full = OpenOptions::new().write(true).open("/dev/full").unwrap();
    assert_eq!(ends(Stdio::null()), Some(2));
    assert_eq!([ends(gone.into()), ends(full.into())], [Some(2), Some(2)]);
}

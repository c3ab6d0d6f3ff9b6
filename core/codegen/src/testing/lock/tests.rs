use super::*;

fn file(path: &str) -> File {
    File { path: path.to_owned(), bytes: path.into(), writer_schema: None }
}

fn golden(path: &str) -> Option<Vec<u8>> {
    Some(path.into())
}

/// Two released events, and the envelope.
fn released() -> (Vec<Line>, Vec<File>) {
    let line = |file: &File, golden: &str, golden_sha256: String| Line {
        path: file.path.clone(),
        sha256: hex_sha256(&file.bytes),
        golden: golden.to_owned(),
        golden_sha256,
    };
    let files = ["envelope.avsc", "things/thing/thing.lost.v1.avsc", "things/thing/thing.made.v1.avsc"].map(file);
    let lock = vec![
        line(&files[0], NONE, NONE.to_owned()),
        line(&files[1], "golden/lost", hex_sha256(b"golden/lost")),
        line(&files[2], "golden/made", hex_sha256(b"golden/made")),
    ];
    (lock, files.into())
}

#[test]
fn an_edited_a_lost_and_an_unreleased_file_are_noticed() {
    let (lock, files) = released();
    assert_eq!(complaints(&lock, &files, golden), [""; 0]);
    let mut edited = files.clone();
    edited[0].bytes.push(b' ');
    let found = complaints(&lock, &edited, golden);
    assert_eq!(found, [format!("{} was released and then edited; restore it and add a revision", files[0].path)]);

    let found = complaints(&lock, &files[1..], golden);
    assert_eq!(found, [format!("{} was released and is gone", files[0].path)]);

    let found = complaints(&lock[1..], &files, golden);
    assert!(found.len() == 1 && found[0].starts_with(&format!("{} is not released", lock[0].path)), "{found:?}");

    let both = ["golden/lost", "golden/made"].map(|golden| format!("{golden} was released and is gone or edited"));
    assert_eq!(complaints(&lock, &files, |_| None), both);
    let flipped = |path: &str| {
        let mut bytes = golden(path)?;
        bytes[3] ^= 1;
        Some(bytes)
    };
    assert_eq!(complaints(&lock, &files, flipped), both);
}

use std::collections::HashMap;
use std::io::Write;

use proptest::prelude::*;

use super::*;

fn commands(text: &[u8]) -> Commands {
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(text).unwrap();
    file.rewind().unwrap();
    Commands::of("it".to_owned(), file, "").unwrap()
}

fn sent(text: &[u8]) -> Vec<CommandLine> {
    let sent = |line: anyhow::Result<Line>| match line.unwrap() {
        Line::Command(command) => command,
        Line::Refused { label, problem } => panic!("{label}: {problem}"),
    };
    commands(text).map(sent).collect()
}

/// What each line says, without its id, and the id.
fn ids(text: &[u8]) -> Vec<(Value, String)> {
    let split = |command: CommandLine| {
        let mut document: Value = serde_json::from_str(&command.line).unwrap();
        let id = document.as_object_mut().unwrap().remove("client_request_id").unwrap();
        (document, id.as_str().unwrap().to_owned())
    };
    sent(text).into_iter().map(split).collect()
}

#[test]
fn a_line_without_a_request_id_gets_the_same_one_each_time() {
    let text = b"{\"type\":\"a.b.c\",\"payload\":{}}\n\n{ }\nnot json\n{\"client_request_id\":\"mine\"}";
    let lines = sent(text);
    assert_eq!(lines, sent(text));
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
fn a_request_id_is_named_after_what_the_line_says_and_not_after_its_file() {
    let id = |text: &str| ids(text.as_bytes())[0].1.clone();
    let plain = id("{\"a\":1,\"b\":{\"c\":2}}");
    assert_eq!(plain, id("{\"a\":1,\"b\":{\"c\":2}}\n{\"a\":2}"));
    for written_otherwise in [
        "\u{feff}{\"a\":1,\"b\":{\"c\":2}}\r\n",
        "  { \"b\": {\"c\": 2}, \"a\": 1 }\t",
        "\u{feff}\n\r\n{\"a\":1,\"b\":{\"c\":2}}",
    ] {
        assert_eq!(plain, id(written_otherwise), "{written_otherwise:?}");
    }
    for other in ["{\"a\":2,\"b\":{\"c\":2}}", "{\"a\":\"1\",\"b\":{\"c\":2}}", "{\"a\":1.0,\"b\":{\"c\":2}}"] {
        assert_ne!(plain, id(other), "{other:?}");
    }
    let mut again = commands(b"{\"a\":1,\"b\":{\"c\":2}}");
    again.series = "tuesday".to_owned();
    let Line::Command(again) = again.next().unwrap().unwrap() else { panic!() };
    assert!(!again.line.contains(&plain), "equal lines of two series are different commands");
}

#[test]
fn a_line_that_is_not_utf_8_is_refused_and_nothing_of_it_is_sent() {
    let text = b"{\"name\":\"ok\"}\n{\"name\":\"M\xfcller\"}\r\n{\"name\":\"also ok\"}";
    let lines: Vec<Line> = commands(text).map(|line| line.unwrap()).collect();
    assert_eq!(lines.len(), 3);
    let Line::Refused { label, problem } = &lines[1] else { panic!("{:?}", lines[1]) };
    assert_eq!(label, "line 2");
    assert_eq!(problem.to_string(), "Not UTF-8: byte 11 of the line does not fit; convert the file first [400]");
}

#[test]
fn a_line_above_the_bound_is_refused() {
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(b"{}\n").unwrap();
    file.write_all(&vec![b'x'; limits::LINE_BYTES_MAX + 1]).unwrap();
    file.rewind().unwrap();
    let failure = Commands::of("it".to_owned(), file, "").unwrap_err();
    assert!(failure.to_string().contains("line 2 is longer than"), "{failure}");
}

/// How a file is written: what it says is the same.
fn written(lines: &[u8], crlf: bool, mark: bool, spaces: bool) -> Vec<u8> {
    let mut text = if mark { "\u{feff}".to_owned() } else { String::new() };
    for line in lines {
        if spaces {
            text.push_str(&format!("\n {{ \"payload\" : {{}}, \"n\" : {line} }}"));
        } else {
            text.push_str(&format!("{{\"n\":{line},\"payload\":{{}}}}"));
        }
        text.push_str(if crlf { "\r\n" } else { "\n" });
    }
    text.into_bytes()
}

proptest! {
    #[test]
    fn lines_keep_their_ids_when_others_are_added_moved_corrected_or_taken_away(
        before in prop::collection::vec(0u8..6, 0..12),
        edits in prop::collection::vec((0u8..4, any::<prop::sample::Index>(), 0u8..9), 0..6),
        (crlf, mark, spaces) in any::<(bool, bool, bool)>(),
    ) {
        let mut after = before.clone();
        for (edit, place, line) in edits {
            match (edit, after.is_empty()) {
                (0, _) | (_, true) => after.insert(place.index(after.len() + 1), line),
                (1, _) => { let at = place.index(after.len()); after[at] = line; }
                (2, _) => { after.remove(place.index(after.len())); }
                _ => { let moved = after.remove(place.index(after.len())); after.push(moved); }
            }
        }
        let first = ids(&written(&before, false, false, false));
        let second = ids(&written(&after, crlf, mark, spaces));
        let distinct = |ids: &[(Value, String)]| ids.iter().map(|(_, id)| id.clone()).collect::<std::collections::BTreeSet<_>>().len();
        prop_assert_eq!((distinct(&first), distinct(&second)), (before.len(), after.len()));
        // Of each content as many are answered as were sent before, and no id ever names another content.
        let mut known: HashMap<&str, &Value> = first.iter().map(|(content, id)| (id.as_str(), content)).collect();
        for content in second.iter().map(|(content, _)| content) {
            let count = |ids: &[(Value, String)]| ids.iter().filter(|(other, _)| other == content).count();
            let answered = second.iter().filter(|(other, id)| other == content && first.iter().any(|(_, old)| old == id));
            prop_assert_eq!(answered.count(), count(&first).min(count(&second)));
        }
        for (content, id) in &second {
            let held = known.entry(id).or_insert(content);
            prop_assert_eq!(&**held, content);
        }
    }
}

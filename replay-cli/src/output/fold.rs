//! Long lines in lines that fit.

/// What stands around the text of the lines.
#[derive(Clone, Copy, Debug)]
pub struct Edges<'a> {
    /// Before the first.
    pub first: &'a str,
    /// Before each other one.
    pub rest: &'a str,
    /// Behind each but the last.
    pub unfinished: &'a str,
}

/// A line in lines of at most so many columns, broken between words. A word that is longer than a line stays whole: an
/// address or a path is no use in two pieces.
pub fn fold(line: &str, width_columns: usize, edges: &Edges<'_>) -> String {
    let width = width_columns.saturating_sub(edges.unfinished.len());
    let (mut done, mut current) = (String::new(), edges.first.to_owned());
    for (index, word) in line.split(' ').enumerate() {
        if index > 0 && current.chars().count() + 1 + word.chars().count() > width {
            done.push_str(&current);
            done.push_str(edges.unfinished);
            done.push('\n');
            current.clear();
            current.push_str(edges.rest);
        } else if index > 0 {
            current.push(' ');
        }
        current.push_str(word);
    }
    done.push_str(current.trim_end());
    done
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_lines_are_broken_between_words_and_fit_a_terminal() {
        let plain = Edges { first: "   ", rest: "     ", unfinished: "" };
        let text = "the resumed import does the rest and repeats nothing: 12,345 new + 6,789 answered again = 19,134";
        let line = fold(text, 80, &plain);
        assert_eq!(line.lines().count(), 2);
        assert!(line.lines().all(|line| line.starts_with("   ") && line.chars().count() <= 80), "{line}");
        assert_eq!(line.split_whitespace().collect::<Vec<_>>().join(" "), text);
        assert_eq!(fold("short", 80, &plain), "   short");
        assert_eq!(fold("", 80, &plain), "");
        let command = fold(
            &format!("$ annals {}", "--param name=serde ".repeat(9).trim_end()),
            80,
            &Edges { unfinished: " \\", ..plain },
        );
        let lines: Vec<&str> = command.lines().collect();
        let (last, unfinished) = lines.split_last().unwrap();
        assert!(unfinished.iter().all(|line| line.ends_with(" \\")) && !last.ends_with('\\'), "{command}");
        assert!(lines.iter().all(|line| line.chars().count() <= 80), "{command}");
    }
}

use clap::CommandFactory;

use super::*;
use crate::Plain;

type Line = Cli<Plain>;

fn parsed(line: &str) -> Result<Line, clap::Error> {
    Line::try_parse_from(line.split(' '))
}

#[test]
fn the_command_line_is_well_formed() {
    Line::command().debug_assert();
}

#[test]
fn global_options_stand_anywhere() {
    let cli = parsed("annals query portfolio.applications --data d -o jsonl").unwrap();
    assert_eq!(cli.global.place.data, PathBuf::from("d"));
    assert_eq!(cli.global.output, Format::Jsonl);
    assert_eq!(parsed("annals --data d status").unwrap().global.place.data, PathBuf::from("d"));
}

#[test]
fn what_contradicts_itself_is_refused() {
    for line in [
        "annals",
        "annals nonsense",
        "annals query a --all --limit 3",
        "annals query a --limit 501",
        "annals rebuild",
        "annals rebuild portfolio --memory 0",
        "annals import ndjson",
        "annals history portfolio.application",
        "annals token mint --valid-hours 0",
    ] {
        assert!(parsed(line).is_err(), "{line}");
    }
}

#[test]
fn every_command_says_what_it_is_for() {
    fn check(command: &clap::Command) {
        assert!(command.get_about().is_some(), "{} has no help", command.get_name());
        for argument in command.get_arguments() {
            assert!(argument.get_help().is_some(), "{} {} has no help", command.get_name(), argument.get_id());
        }
        command.get_subcommands().for_each(check);
    }
    check(&Line::command());
}

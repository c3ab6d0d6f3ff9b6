//! What lies in `deploy/` fits the programs that it starts.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use annals_engine::telemetry;
use annals_projectors::deployment::{ApiFlags, Deployment, DeploymentFlags, LogSettings, Place, ReadModelsSettings};
use clap::Args as _;

fn deploy() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy")
}

fn text(name: &str) -> String {
    fs::read_to_string(deploy().join(name)).unwrap()
}

/// Words of a text that satisfy `is_part` all through.
fn words(text: &str, is_part: impl Fn(char) -> bool) -> BTreeSet<String> {
    text.split(|letter| !is_part(letter)).map(str::to_owned).collect()
}

#[test]
fn the_example_configuration_is_one() {
    let place = Place { data: "/data".into(), config: Some(deploy().join("annals.toml")) };
    let deployment = Deployment::resolve(&place, std::iter::empty(), Vec::new()).unwrap();
    assert!(matches!(&deployment.log, LogSettings::Kafka(options) if options.brokers.split(',').count() == 3));
    assert!(matches!(deployment.read_models, ReadModelsSettings::Postgres { .. }));
    // What is only hinted at is right as well.
    let hinted: String = text("annals.toml")
        .lines()
        .map(|line| {
            line.strip_prefix("# ")
                .filter(|rest| rest.starts_with(['"', '[']) || rest.starts_with("only"))
                .unwrap_or(line)
        })
        .map(|line| format!("{line}\n"))
        .collect();
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("annals.toml");
    fs::write(&file, hinted).unwrap();
    let place = Place { data: "/data".into(), config: Some(file) };
    let deployment = Deployment::resolve(&place, std::iter::empty(), Vec::new()).unwrap();
    assert!(deployment.tenant_only.is_some());
    assert!(matches!(&deployment.log, LogSettings::Kafka(options) if options.client["sasl.username"] == "annals"));
}

#[test]
fn every_flag_and_program_that_is_started_exists() {
    let flags = DeploymentFlags::augment_args(ApiFlags::augment_args(Place::augment_args(clap::Command::new("all"))));
    let mut known: BTreeSet<String> =
        flags.get_arguments().filter_map(|argument| argument.get_long()).map(str::to_owned).collect();
    known.insert("read-model".to_owned());
    let mut started = 0;
    for name in ["compose.yml", "systemd/annals-api.service", "systemd/annals-projector@.service"] {
        for line in text(name).lines().filter(|line| line.contains("command: [") || line.starts_with("ExecStart=")) {
            let program = line.split(['"', '/', ' ']).find(|word| word.starts_with("annals-")).unwrap();
            assert!(["annals-api", "annals-projector"].contains(&program), "{name}: {program}");
            for word in words(line, |letter| letter.is_ascii_alphanumeric() || letter == '-') {
                if let Some(flag) = word.strip_prefix("--") {
                    assert!(known.contains(flag), "{name}: --{flag}");
                }
            }
            started += 1;
        }
    }
    assert_eq!(started, 7);
}

#[test]
fn every_metric_that_an_alert_speaks_of_exists() {
    let known: BTreeSet<&str> = telemetry::names().collect();
    for name in ["alerts.yml", "alerts.test.yml"] {
        let used = words(&text(name), |letter| letter.is_ascii_alphanumeric() || letter == '_');
        let used: Vec<_> = used.into_iter().filter(|word| word.starts_with("annals_")).collect();
        assert!(used.len() >= 5, "{used:?}");
        for metric in used {
            assert!(known.contains(metric.as_str()), "{name}: {metric}");
        }
    }
}

#[test]
fn the_alerts_fire_when_they_should_and_not_before() {
    let promtool = annals_dev::promtool::find().unwrap();
    let ran = |arguments: &[&str], directory: &Path| {
        let ended = Command::new(&promtool).args(arguments).current_dir(directory).output().unwrap();
        let said = String::from_utf8_lossy(&[ended.stdout, ended.stderr].concat()).into_owned();
        (ended.status.success(), said)
    };
    for arguments in [["check", "config", "prometheus.yml"], ["test", "rules", "alerts.test.yml"]] {
        let (passed, said) = ran(&arguments, &deploy());
        assert!(passed, "{arguments:?}: {said}");
    }
    // A rule that waits ten minutes instead of five is noticed.
    let directory = tempfile::tempdir().unwrap();
    let slow =
        text("alerts.yml").replace("(annals_read_model_lag_seconds) > 300", "(annals_read_model_lag_seconds) > 600");
    assert_ne!(slow, text("alerts.yml"));
    fs::write(directory.path().join("alerts.yml"), slow).unwrap();
    fs::copy(deploy().join("alerts.test.yml"), directory.path().join("alerts.test.yml")).unwrap();
    let (passed, said) = ran(&["test", "rules", "alerts.test.yml"], directory.path());
    assert!(!passed && said.contains("AnnalsConsumerStopped"), "{said}");
}

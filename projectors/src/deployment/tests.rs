use std::path::Path;

use annals_engine::log::sqlite::{SqliteLog, SqliteOptions};
use annals_model::ids::LogId;
use uuid::Uuid;

use annals_platform::application;

use super::*;
use annals_stores::sinks::Store;

fn place(data: &Path) -> Place {
    Place { data: data.to_owned(), config: None }
}

fn read(file: &str, environment: &[(&str, &str)], flags: &DeploymentFlags) -> Result<Deployment, ConfigError> {
    let directory = tempfile::tempdir().unwrap();
    fs::write(directory.path().join(FILE), file).unwrap();
    let environment = environment.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    Deployment::resolve(&place(directory.path()), environment, flags.given())
}

fn shown(deployment: &Deployment, name: &str) -> (String, String) {
    let shown = deployment.show().into_iter().find(|shown| shown.name == name).unwrap();
    (shown.value, shown.origin.to_string())
}

const KAFKA: &str = "
    [log]
    kind = 'kafka'
    brokers = 'one:9092,two:9092'
    partitions = 8
    [log.client]
    'security.protocol' = 'SASL_SSL'
    sasl.password = 'hush'
";

#[test]
fn without_a_word_it_is_sqlite_in_the_data_directory() {
    let deployment = Deployment::resolve(&place(Path::new("/nowhere")), std::iter::empty(), Vec::new()).unwrap();
    assert!(matches!(deployment.log, LogSettings::Sqlite { partitions: None }));
    assert_eq!(deployment.read_models, ReadModelsSettings::Sqlite);
    assert_eq!(deployment.to_file(), None);
    assert_eq!(shown(&deployment, "log.kind"), ("sqlite".into(), "default".into()));
}

#[test]
fn flags_win_over_variables_and_those_over_the_file_and_each_value_knows_who_said_it() {
    let flags = DeploymentFlags { partitions: Some(16), ..DeploymentFlags::default() };
    let environment = [("ANNALS_LOG_PREFIX", "mine"), ("ANNALS_LOG_PARTITIONS", "12"), ("PATH", "/bin")];
    let deployment = read(KAFKA, &environment, &flags).unwrap();
    let LogSettings::Kafka(options) = &deployment.log else { panic!("{deployment:?}") };
    assert_eq!((options.prefix.as_str(), options.partitions), ("mine", Some(16)));
    assert_eq!(options.client["security.protocol"], "SASL_SSL");
    assert_eq!(options.client["sasl.password"], "hush");
    assert_eq!(shown(&deployment, "log.partitions"), ("16".into(), "--partitions".into()));
    assert_eq!(shown(&deployment, "log.prefix"), ("mine".into(), "$ANNALS_LOG_PREFIX".into()));
    let (brokers, origin) = shown(&deployment, "log.brokers");
    assert_eq!(brokers, "one:9092,two:9092");
    assert!(origin.ends_with("/annals.toml"), "{origin}");
}

#[test]
fn the_clients_settings_come_from_the_environment_as_well() {
    let deployment = read(KAFKA, &[("ANNALS_LOG_CLIENT_SASL_USERNAME", "me")], &DeploymentFlags::default()).unwrap();
    let LogSettings::Kafka(options) = &deployment.log else { panic!("{deployment:?}") };
    assert_eq!(options.client["sasl.username"], "me");
}

#[test]
fn secrets_are_not_shown() {
    let deployment = read(KAFKA, &[], &DeploymentFlags::default()).unwrap();
    assert_eq!(shown(&deployment, "log.client.sasl.password").0, MASK);
    assert_eq!(without_password("postgres://me:hush@db:5432/annals"), format!("postgres://me:{MASK}@db:5432/annals"));
    assert_eq!(
        without_password("postgres://me@db/annals?password=hush&x=1"),
        format!("postgres://me@db/annals?password={MASK}&x=1")
    );
    assert_eq!(without_password("one:9092"), "one:9092");
    assert!(!deployment.to_file().unwrap().contains("hush"));
}

#[test]
fn what_is_written_for_the_other_commands_reads_back_as_the_same_deployment() {
    let flags = DeploymentFlags {
        log: Some("kafka".into()),
        brokers: Some("localhost:9092".into()),
        log_client: vec!["ssl.ca.location=/ca".into()],
        partitions: Some(3),
        ..DeploymentFlags::default()
    };
    let first = read("", &[], &flags).unwrap();
    let again = read(&first.to_file().unwrap(), &[], &DeploymentFlags::default()).unwrap();
    assert_eq!(format!("{:?}", first.log), format!("{:?}", again.log));
    assert_eq!(first.to_file(), again.to_file());
}

#[test]
fn whatever_is_wrong_is_named_with_its_place_and_what_there_is() {
    let none = DeploymentFlags::default;
    let refused = |file: &str, environment: &[(&str, &str)], flags: DeploymentFlags, words: &[&str]| {
        let error = read(file, environment, &flags).unwrap_err().to_string();
        for word in words {
            assert!(error.contains(word), "{error:?} does not say {word:?}");
        }
    };
    refused("[log]\nbroker = 'x:1'", &[], none(), &["annals.toml", "log.broker\"", "log.brokers"]);
    refused("[lgo]\n", &[], none(), &["\"lgo\"", "log.kind"]);
    refused("[log", &[], none(), &["not TOML", "line 1"]);
    refused("[log]\nkind = 'files'", &[], none(), &["log.kind", "files", "sqlite and kafka"]);
    refused("[log]\nkind = ['kafka']", &[], none(), &["log.kind", "write a text"]);
    refused("[log]\nkind = 'kafka'", &[], none(), &["log.brokers is missing", "--brokers"]);
    refused("[log]\nkind = 'kafka'\nbrokers = 'one'", &[], none(), &["\"one\"", "host:port"]);
    refused("[log]\nbrokers = 'one:1'", &[], none(), &["log.brokers", "log.kind = \"kafka\""]);
    refused("", &[("ANNALS_LOG_BROKER", "x:1")], none(), &["ANNALS_LOG_BROKER\"", "ANNALS_LOG_BROKERS"]);
    refused("[read_models]\nurl = 'mysql://x'", &[], none(), &["read_models.url", "postgres://ROLE"]);
    for keep in ["0", "17", "-1", "'all'"] {
        refused(&format!("[read_models]\nkeep = {keep}"), &[], none(), &["read_models.keep", "from 1 to 16"]);
    }
    refused("[metrics]\nlisten = 'x'", &[], none(), &["metrics.listen", "127.0.0.1:9464"]);
    refused("[tenant]\nonly = 'acme'", &[], none(), &["tenant.only", "UUID"]);
    let partitions = DeploymentFlags { log_client: vec!["a.b".into()], ..none() };
    refused("", &[], partitions, &["log.client.a.b", "--log-client"]);
}

#[test]
fn a_build_on_files_alone_refuses_what_it_was_built_without_and_names_the_feature() {
    let none = BACKENDS.map(|(key, feature, _)| (key, feature, false));
    let refused = |file: &str| {
        let mut settings = Settings::default();
        settings.add_file(Path::new("annals.toml"), file).unwrap();
        is_built(&settings, none).map_err(|error| error.to_string())
    };
    let lacks = |key, feature| {
        format!(
            "{key} from annals.toml: this build lacks the cargo feature `{feature}`; run one that has it, or leave this out"
        )
    };
    assert_eq!(refused(KAFKA), Err(lacks("log.kind", "kafka")));
    for scheme in ["postgres", "postgresql"] {
        let file = format!("[read_models]\nurl = '{scheme}://me:hush@db/annals'");
        assert_eq!(refused(&file), Err(lacks("read_models.url", "postgres")));
    }
    assert_eq!(refused("[log]\nkind = 'sqlite'"), Ok(()));
}

#[test]
fn one_retired_generation_stays_unless_more_are_asked_for_and_the_next_command_knows() {
    let none = DeploymentFlags::default();
    let unasked = read("", &[], &none).unwrap();
    assert_eq!((unasked.keep.count(), shown(&unasked, "read_models.keep").0), (1, "1".to_owned()));
    assert_eq!(read("[read_models]\nkeep = 3", &[], &none).unwrap().keep.count(), 3);
    let asked = read("", &[("ANNALS_READ_MODELS_KEEP", "16")], &none).unwrap();
    assert_eq!(asked.read_models, ReadModelsSettings::Sqlite);
    let file = asked.to_file().unwrap();
    assert_eq!(read(&file, &[], &none).unwrap().keep.count(), 16, "{file}");
}

#[test]
fn a_named_file_must_be_there_and_its_paths_are_relative_to_it() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("shared.toml");
    let place = Place { data: directory.path().join("node"), config: Some(file.clone()) };
    let read = || Deployment::resolve(&place, std::iter::empty(), Vec::new());
    assert!(matches!(read(), Err(ConfigError::Unreadable { .. })));
    fs::write(&file, "[api]\nsigning_key = 'keys/signing.key'").unwrap();
    assert_eq!(read().unwrap().api.signing_key, Some(directory.path().join("keys/signing.key")));
}

#[tokio::test]
async fn a_reader_waits_for_a_log_that_a_server_is_just_making() {
    let directory = tempfile::tempdir().unwrap();
    let deployment = Deployment::resolve(&place(directory.path()), std::iter::empty(), Vec::new()).unwrap();
    let path = deployment.log_path();
    // There is nothing yet; then there is a log, and its contexts are not in it yet.
    assert!(deployment.open_log(&application(), Access::Read).await.unwrap_err().may_pass());
    let contexts = application().context_ids();
    for contexts in [&[], &contexts[..1]] {
        SqliteLog::open(&path, contexts, SqliteOptions::default()).await.unwrap().close().await;
        let error = deployment.open_log(&application(), Access::Read).await.unwrap_err();
        assert!(error.may_pass() && !error.is_missing_file(), "{error}");
    }
    let made = deployment.open_log(&application(), Access::Serve).await.unwrap();
    assert_eq!(deployment.open_log(&application(), Access::Read).await.unwrap().id(), made.id());
}

/// The store of a deployment that was never used, then of one log, must not become another's.
async fn belongs_to_its_log(deployment: &Deployment) {
    let [good, misspelt] = [1, 2].map(|number| LogId(Uuid::from_u128(number)));
    let models = |store: &Store| store.read_models().to_vec();
    // First starts: whose it will be is open until there is something.
    deployment.open_store(&application(), misspelt).await.unwrap();
    let store = deployment.open_store(&application(), good).await.unwrap();
    let model = models(&store)[0].clone();
    let live = store.ensure_live(&model).await.unwrap();
    match deployment.open_store(&application(), misspelt).await {
        Err(error @ OpenStoreError::OtherLog { .. }) => {
            assert!(!error.may_pass());
            let text = error.to_string();
            assert!(text.contains(&format!("belong to log {good}, and this is log {misspelt}")), "{text}");
            assert!(!text.contains("rebuild"), "{text}");
        }
        other => panic!("{other:?}"),
    }
    let store = deployment.open_store(&application(), good).await.unwrap();
    assert_eq!(store.list(model.name()).await.unwrap(), live.into_iter().collect::<Vec<_>>(), "nothing was changed");
}

#[tokio::test]
async fn read_models_of_another_log_are_refused_and_left_as_they_are() {
    let directory = tempfile::tempdir().unwrap();
    let sqlite = Deployment::resolve(&place(directory.path()), std::iter::empty(), Vec::new()).unwrap();
    belongs_to_its_log(&sqlite).await;
    let database = annals_dev::postgres::shared().unwrap().fresh_database().unwrap();
    let url = ("ANNALS_READ_MODELS_URL".to_owned(), database.url);
    let postgres = Deployment::resolve(&place(directory.path()), [url].into_iter(), Vec::new()).unwrap();
    belongs_to_its_log(&postgres).await;
}

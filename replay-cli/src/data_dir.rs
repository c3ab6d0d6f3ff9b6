//! What a data directory leads to: its deployment, and the log and the read models of that.

pub(crate) use annals_api::data_dir::DataDir;
use annals_engine::log::sqlite::OpenError;
use annals_model::ids::LogId;
use annals_projectors::deployment::{Access, Deployment, Given, LogSettings, OpenLog, OpenLogError};
use annals_stores::sinks::Store;

use crate::cli::Global;
use crate::exit::Failure;
use crate::failure::{log_failure, open_store_failure};

/// What the data directory's file, the environment and flags say.
pub(crate) fn deployment(global: &Global, flags: Vec<Given>) -> Result<Deployment, Failure> {
    Deployment::read(&global.place, flags).map_err(|error| Failure::usage(error.to_string()))
}

/// The deployment of a directory that a server has run on.
pub(crate) fn existing(global: &Global) -> Result<Deployment, Failure> {
    let deployment = deployment(global, Vec::new())?;
    match matches!(deployment.log, LogSettings::Sqlite { .. }) && !deployment.log_path().exists() {
        true => Err(no_log(&deployment)),
        false => Ok(deployment),
    }
}

fn no_log(deployment: &Deployment) -> Failure {
    Failure::usage(format!("there is no log in {}", deployment.data.display()))
        .remedy("name the directory with --data, or make one with `annals up`")
}

/// Opens the log to read it, whoever writes it. A context that came with this build has nothing in a log in a file before a
/// server has run on it, and is no reason not to look at the others.
pub(crate) async fn read_log(global: &Global, deployment: &Deployment) -> Result<OpenLog, Failure> {
    let mut known = (*global.application).clone();
    loop {
        match deployment.open_log(&known, Access::Read).await {
            Err(OpenLogError::Sqlite(OpenError::UnknownContext(new))) => {
                known.contexts.retain(|context| context.id() != new);
            }
            opened => return opened.map_err(|error| log_failure(&error)),
        }
    }
}

/// Opens the read models, in the versions that this build carries.
pub(crate) async fn read_models(global: &Global, deployment: &Deployment, log: LogId) -> Result<Store, Failure> {
    deployment.open_store(&global.application, log).await.map_err(|error| open_store_failure(&error))
}

#[cfg(test)]
mod tests {
    use annals_projectors::deployment::Place;

    use super::*;
    use crate::cli::GlobalArgs;
    use crate::exit::Exit;
    use crate::output::Format;

    #[test]
    fn a_directory_without_a_log_is_not_looked_into() {
        let temporary = tempfile::tempdir().unwrap();
        let place = Place { data: temporary.path().to_owned(), config: None };
        let given = GlobalArgs { place, output: Format::Table, url: None, token: None, ca: None };
        let application = annals_platform::application().into();
        let global = Global { application, first_steps: &[], given };
        assert_eq!(existing(&global).unwrap_err().exit, Exit::Usage);
        std::fs::write(temporary.path().join("annals.toml"), "[log]\nkind = 'kafka'\nbrokers = 'one:9092'").unwrap();
        assert!(!matches!(existing(&global).unwrap().log, LogSettings::Sqlite { .. }));
    }
}

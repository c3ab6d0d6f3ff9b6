//! `up`: everything in one process on a data directory: log, engine, read models, HTTP.

use std::iter::{once, repeat};

use annals_api::endpoint;
use annals_api::node::{self, NodeOptions, Ready};
use annals_projectors::deployment::{Deployment, FILE};
use annals_projectors::process::{file, say};

use crate::cli::{Global, UpArgs};
use crate::data_dir::deployment;
use crate::exit::{Exit, Failure};
use crate::output::render_pairs;

/// `up`.
pub(crate) async fn run(global: &Global, args: &UpArgs) -> anyhow::Result<Exit> {
    let deployment = deployment(global, [args.deployment.given(), args.api.given()].concat())?;
    let first_versions = first_versions(&args.first_version)?;
    let options = NodeOptions {
        application: (*global.application).clone(),
        deployment: deployment.clone(),
        projects: true,
        first_versions,
        accept_clock: args.api.accept_clock,
    };
    let ready = |node: &Ready| {
        keep(global, &deployment)?;
        banner(global, &deployment, node);
        Ok(())
    };
    node::run(options, ready).await?;
    Ok(Exit::Ok)
}

/// Writes down what the other commands need to find the same log and read models, unless somebody has.
fn keep(global: &Global, deployment: &Deployment) -> Result<(), Failure> {
    let path = deployment.data.join(FILE);
    match deployment.to_file() {
        Some(text) if global.place.config.is_none() && !path.exists() => {
            let written = file::write_private(&path, text.as_bytes());
            written.map_err(|error| Failure::usage(format!("{} cannot be written: {error}", path.display())))
        }
        Some(_) | None => Ok(()),
    }
}

/// `NAME=VERSION` pairs.
fn first_versions(pairs: &[String]) -> Result<Vec<(String, u32)>, Failure> {
    let parse = |pair: &String| {
        let (name, version) = pair.split_once('=')?;
        Some((name.to_owned(), version.parse().ok()?))
    };
    pairs
        .iter()
        .map(|pair| {
            parse(pair).ok_or_else(|| Failure::usage(format!("--first-version {pair}: write it as NAME=VERSION")))
        })
        .collect()
}

fn banner(global: &Global, deployment: &Deployment, node: &Ready) {
    let data = deployment.data.display().to_string();
    let shown = deployment.show();
    // Without passwords; nothing where nothing was said.
    let of = |name: &str| shown.iter().find(|shown| shown.name == name && !shown.value.is_empty()).map(|s| &s.value);
    let log = of("log.brokers").zip(of("log.prefix"));
    let log = log.map(|(brokers, prefix)| format!("kafka at {brokers}, prefix {prefix}"));
    let read_models = of("read_models.url").cloned();
    let metrics = node.metrics.map(|at| format!("http://{at}/metrics"));
    let at = if data == "./annals-data" { String::new() } else { format!(" --data {data}") };
    let mut pairs = vec![("listens on", node.url.clone()), ("data", data)];
    pairs.extend(log.map(|log| ("log", log)));
    pairs.extend(read_models.map(|url| ("read models", url)));
    pairs.extend(metrics.map(|url| ("metrics", url)));
    let tool = global.application.name;
    pairs.push(("token", format!("in {}", endpoint::path(&deployment.data).display())));
    let steps = global.first_steps.iter().map(|step| format!("{tool}{at} {step}"));
    pairs.extend(once("try").chain(repeat("")).zip(steps));
    pairs.push(("stop", "Ctrl-C".to_owned()));
    say!("{tool} {} is ready", env!("CARGO_PKG_VERSION"));
    say!("{}", render_pairs(&pairs));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn first_versions_are_pairs() {
        let pairs = |text: &str| first_versions(&[text.to_owned()]).ok();
        assert_eq!(pairs("stock=1"), Some(vec![("stock".to_owned(), 1)]));
        assert_eq!(pairs("stock"), None);
        assert_eq!(pairs("stock=x"), None);
    }
}

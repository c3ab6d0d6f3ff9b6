//! `endpoint`: where the running server of a data directory listens, for whoever speaks to it without `annals`.

use annals_api::endpoint::{Endpoint, path};
use anyhow::Context as _;
use serde_json::json;

use crate::cli::{EndpointArgs, Global};
use crate::exit::{Exit, Failure};
use crate::output::{Output, render_pairs};

/// `endpoint`. The document is the same with `--env` and without.
pub(crate) fn show(global: &Global, output: Output, args: &EndpointArgs) -> anyhow::Result<Exit> {
    let Endpoint { url, token, pid } = running(global)?;
    let document = json!({"url": url, "token": token, "pid": pid});
    output.document(&document, || match args.env {
        true => [("ANNALS_URL", &url), ("ANNALS_TOKEN", &token)].map(export).join("\n"),
        false => render_pairs(&[("url", url.clone()), ("token", token.clone()), ("pid", pid.to_string())]),
    })?;
    Ok(Exit::Ok)
}

/// The server that runs on the data directory now.
pub(crate) fn running(global: &Global) -> Result<Endpoint, Failure> {
    let data = &global.place.data;
    let known = Endpoint::of_running(data).with_context(|| format!("{} cannot be read", path(data).display()));
    known.map_err(|error| Failure::usage(format!("{error:#}")))?.ok_or_else(|| {
        Failure::usage(format!("no server runs on {}", data.display()))
            .remedy("start one with `annals up`, or name another directory with --data")
    })
}

/// A line for a shell, whatever the value holds.
fn export((name, value): (&str, &String)) -> String {
    format!("export {name}='{}'", value.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shell_reads_any_value_as_it_is() {
        let value = "it's $HOME; `id` \\ \"x\"".to_owned();
        let script = format!("{}; printf %s \"$NAME\"", export(("NAME", &value)));
        let read = std::process::Command::new("sh").args(["-c", &script]).output().unwrap();
        assert_eq!(String::from_utf8(read.stdout).unwrap(), value);
    }
}

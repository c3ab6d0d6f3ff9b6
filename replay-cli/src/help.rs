//! The help texts in an application's own words: its tool's name, and its own commands and read models in the examples.

use annals_model::application::Application;
use annals_model::query::QueryScope;
use annals_projectors::process::tool;
use clap::CommandFactory as _;

use crate::Extension;
use crate::cli::Cli;

/// The command line of an application's tool.
pub(crate) fn command<E: Extension>(application: &Application) -> clap::Command {
    let words = Words::of(application);
    words.put_into(Cli::<E>::command().name(application.name), E::EXAMPLES)
}

/// What stands in the examples.
struct Words {
    /// `{query}`: one that can be asked in a workspace, if there is one.
    query: &'static str,
    /// `{read model}`.
    read_model: &'static str,
    /// `{aggregate}`: one that a query finds by its name, if there is one.
    aggregate: String,
    /// `{command}`: one that makes such an aggregate.
    command: String,
    /// `{workspace}`: where all that is; nothing where it is in none.
    workspace: &'static str,
}

impl Words {
    fn of(application: &Application) -> Self {
        let definitions = || application.read_models.iter().rev();
        let queries = || definitions().flat_map(|definition| definition.queries);
        let named = queries().rev().find_map(|query| query.names).map(|names| names.aggregate_type.to_owned());
        let kinds = application.contexts.iter().rev().flat_map(|context| {
            context.aggregates().map(move |kind| (format!("{}.{}", context.id(), kind.aggregate_type()), kind))
        });
        let kinds: Vec<_> = kinds.collect();
        let shown = kinds.iter().find(|(name, _)| Some(name) == named.as_ref()).or_else(|| kinds.first());
        let query = queries().find(|query| query.scope == QueryScope::Workspace).or_else(|| queries().next());
        Self {
            query: query.map_or("NAME", |query| query.name),
            read_model: definitions().next().map_or("NAME", |definition| definition.model.name()),
            aggregate: shown.map_or_else(|| "TYPE".to_owned(), |(name, _)| name.clone()),
            command: shown.map_or_else(
                || "TYPE".to_owned(),
                |(name, kind)| format!("{name}.{}", kind.created_by().first().unwrap_or(&"COMMAND")),
            ),
            workspace: match query.map(|query| query.scope) {
                Some(QueryScope::Workspace) => " --workspace home",
                Some(QueryScope::Tenant) | None => "",
            },
        }
    }

    fn put_into(&self, command: clap::Command, first: &str) -> clap::Command {
        let text = command.get_after_help().map(|text| self.written(&text.to_string().replace("{examples}", first)));
        let command = match text {
            Some(text) => command.after_help(text),
            None => command,
        };
        let names: Vec<String> = command.get_subcommands().map(|one| one.get_name().to_owned()).collect();
        names.into_iter().fold(command, |command, name| command.mut_subcommand(name, |one| self.put_into(one, first)))
    }

    fn written(&self, text: &str) -> String {
        let Self { query, read_model, aggregate, command, workspace } = self;
        let words = [
            ("{query}", *query),
            ("{read model}", read_model),
            ("{aggregate}", aggregate),
            ("{command}", command),
            ("{workspace}", workspace),
        ];
        let text = words.iter().fold(text.to_owned(), |text, (place, word)| text.replace(place, word));
        tool::in_own_name(&text).into_owned()
    }
}

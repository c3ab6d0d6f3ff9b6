//! The help texts in an application's own words: its tool's name, and its own commands and read models in the examples.

use annals_model::aggregate::ScopeKind;
use annals_model::application::Application;
use annals_model::query::QueryScope;
use annals_model::read_model::Definition;
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
    /// `{tool}`: its name.
    tool: &'static str,
    /// `{query}`: one that can be asked in a workspace, if there is one.
    query: &'static str,
    /// `{asked in}`: the workspace of that; nothing where it is in none.
    asked_in: &'static str,
    /// `{read model}`.
    read_model: &'static str,
    /// `{aggregate}`: one that a query finds by its name, if there is one.
    aggregate: String,
    /// `{command}`: one that makes such an aggregate.
    command: String,
    /// `{sent in}`: the workspace of that.
    sent_in: &'static str,
}

impl Words {
    fn of(application: &Application) -> Self {
        let definitions = || application.read_models.iter().rev();
        // One whose queries find things by their names shows most.
        let names = |definition: &&Definition| definition.queries.iter().any(|query| query.names.is_some());
        let definition = definitions().find(names).or_else(|| definitions().next());
        let queries = || definition.into_iter().flat_map(|definition| definition.queries);
        let named = queries().find_map(|query| query.names).map(|names| names.aggregate_type.to_owned());
        let kinds = application.contexts.iter().rev().flat_map(|context| {
            context.aggregates().map(move |kind| (format!("{}.{}", context.id(), kind.aggregate_type()), kind))
        });
        let kinds: Vec<_> = kinds.collect();
        let shown = kinds.iter().find(|(name, _)| Some(name) == named.as_ref()).or_else(|| kinds.first());
        let query = queries().find(|query| query.scope == QueryScope::Workspace).or_else(|| queries().next());
        let at_home = |is_in_workspace| if is_in_workspace { " --workspace home" } else { "" };
        Self {
            tool: application.name,
            query: query.map_or("NAME", |query| query.name),
            asked_in: at_home(query.is_some_and(|query| query.scope == QueryScope::Workspace)),
            read_model: definition.map_or("NAME", |definition| definition.model.name()),
            aggregate: shown.map_or_else(|| "TYPE".to_owned(), |(name, _)| name.clone()),
            command: shown.map_or_else(
                || "TYPE".to_owned(),
                |(name, kind)| format!("{name}.{}", kind.created_by().first().unwrap_or(&"COMMAND")),
            ),
            sent_in: at_home(shown.is_some_and(|(_, kind)| kind.scope() == ScopeKind::Workspace)),
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
        let Self { tool, query, asked_in, read_model, aggregate, command, sent_in } = self;
        let words = [
            ("{tool}", *tool),
            ("{query}", query),
            ("{asked in}", asked_in),
            ("{read model}", read_model),
            ("{aggregate}", aggregate),
            ("{command}", command),
            ("{sent in}", sent_in),
        ];
        let text = words.iter().fold(text.to_owned(), |text, (place, word)| text.replace(place, word));
        tool::in_own_name(&text).into_owned()
    }
}

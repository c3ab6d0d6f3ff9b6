//! Answers requests: checks, one read transaction, a page.

use std::sync::Arc;

use annals_engine::sink::{Generation, StoreError};
use annals_model::projection::{Column, OwnedValue};
use annals_model::query::{CursorKey, Query, QueryDescription, QueryRequest, Question, describe_all};
use annals_model::read_model::{Definition, newest};

use super::answer::{Answer, AnswerRow, Page};
use super::bound::time_max;
use super::error::QueryError;
use super::shares::Shares;
use super::{sqlite, statement};
use crate::limits;
use crate::sinks::{Readers, Store};

/// The queries of every version of every read model that this build carries.
#[derive(Clone, Debug)]
pub struct Queries {
    definitions: Arc<[Definition]>,
    key: CursorKey,
    shares: Arc<Shares>,
}

/// The generation that serves a read model now, as a promotion left it. Ask the store again when it says that something
/// changed: an answer from an earlier one is still true, and says which it is from.
#[derive(Clone, Debug)]
pub struct LiveGeneration {
    /// Which one.
    pub generation: Generation,
    /// Its rows, read-only.
    pub readers: Readers,
}

impl LiveGeneration {
    /// The live generation of a read model; nothing while there is none.
    pub async fn of(store: &Store, read_model: &str) -> Result<Option<Self>, StoreError> {
        match store.live(read_model).await? {
            Some(generation) => Ok(Some(Self { readers: store.readers(&generation).await?, generation })),
            None => Ok(None),
        }
    }
}

impl Queries {
    /// Of the definitions that a build carries, signing cursors with `key`.
    ///
    /// # Panics
    /// When a definition is wrong: every build's own tests make this call.
    pub fn new(definitions: impl Into<Arc<[Definition]>>, key: CursorKey) -> Self {
        let definitions = definitions.into();
        for definition in definitions.iter() {
            for query in definition.queries {
                if let Err(cause) = statement::check(query, definition.model.name(), definition.model.tables()) {
                    panic!("query {}: {cause}", query.name);
                }
            }
        }
        Self { definitions, key, shares: Arc::default() }
    }

    /// The deployment's secret, to derive others from.
    pub fn key(&self) -> &CursorKey {
        &self.key
    }

    /// The read model that a query reads: whose live generation [`Queries::answer`] wants.
    pub fn read_model(&self, query: &str) -> Result<&'static str, QueryError> {
        let has_it = |definition: &&Definition| definition.queries.iter().any(|known| known.name == query);
        match self.definitions.iter().find(has_it) {
            Some(definition) => Ok(definition.model.name()),
            None => Err(self.unknown(query)),
        }
    }

    /// The queries of the versions that are served, by name. `served` tells the version of a read model; where it knows
    /// none, the read model's queries are left out.
    pub fn catalogue(&self, served: impl Fn(&str) -> Option<u32>) -> Vec<QueryDescription> {
        let definitions = self.definitions.iter();
        let served = definitions.filter(|one| served(one.model.name()) == Some(one.model.version()));
        let mut queries: Vec<QueryDescription> = served.flat_map(describe_all).collect();
        queries.sort_unstable_by_key(|query| query.name);
        queries
    }

    /// Answers a request from a read model's live generation. Everything about the request is checked before anything is
    /// read; rows and position are then read in one transaction.
    pub async fn answer(&self, request: &QueryRequest, live: &LiveGeneration) -> Result<Answer, QueryError> {
        let (definition, query) = self.find(&request.name, &live.generation)?;
        let question = Question::read(query, request, &self.key)?;
        let statement = statement::build(&question, statement::Database::of(&live.readers), definition.model.tables());
        let time_max = time_max(query);
        let connections = match &live.readers {
            Readers::Sqlite(_) => limits::READERS_PER_GENERATION_MAX,
            #[cfg(feature = "postgres")]
            Readers::Postgres(_) => limits::POSTGRES_READERS_MAX,
        };
        let turn = self.shares.turn(request.tenant, query, connections).await;
        let _turn = turn.ok_or(QueryError::Busy { query: query.name })?;
        let model = &definition.model;
        let read = match &live.readers {
            Readers::Sqlite(readers) => sqlite::read(readers, statement, query, model, time_max)
                .await
                .map_err(|error| failed(&error, sqlite::took_too_long(&error), error.to_string(), query, model.name())),
            #[cfg(feature = "postgres")]
            Readers::Postgres(readers) => {
                use super::postgres::{read, told, took_too_long};
                let read = read(readers, statement, query, model, request.tenant).await;
                read.map_err(|error| failed(&error, took_too_long(&error), told(&error), query, model.name()))
            }
        }?;
        let page = self.page(&question, statement::answered(query, definition.model.tables()), read.rows)?;
        Ok(Answer {
            query: query.name,
            page,
            read_model: definition.model.name(),
            version: definition.model.version(),
            generation: live.generation.id,
            position: read.position,
        })
    }

    fn find(&self, name: &str, live: &Generation) -> Result<(&Definition, &'static Query), QueryError> {
        let mut of_name = self.definitions.iter().filter_map(|definition| {
            definition.queries.iter().find(|query| query.name == name).map(|query| (definition, query))
        });
        let is_live = |definition: &Definition| {
            definition.model.name() == live.read_model && definition.model.version() == live.version
        };
        match of_name.clone().find(|(definition, _)| is_live(definition)) {
            Some(found) => Ok(found),
            None if of_name.next().is_some() => Err(QueryError::NotInVersion {
                name: name.to_owned(),
                read_model: live.read_model.clone(),
                version: live.version,
            }),
            None => Err(self.unknown(name)),
        }
    }

    fn unknown(&self, name: &str) -> QueryError {
        let mut known: Vec<&'static str> =
            newest(&self.definitions).flat_map(|definition| definition.queries).map(|query| query.name).collect();
        known.sort_unstable();
        QueryError::UnknownQuery {
            name: name.chars().take(annals_model::limits::QUERY_ECHO_CHARS_MAX).collect(),
            known,
        }
    }

    /// The page of `rows`, each with the query's columns, then its order columns, then whether it gave up.
    fn page(&self, question: &Question, answered: Vec<Column>, rows: Vec<Vec<OwnedValue>>) -> Result<Page, QueryError> {
        let (query, limit) = (question.query, question.limit as usize);
        let (columns, order) = (answered.len(), query.order.len());
        if rows.iter().any(|row| row.get(columns + order) == Some(&OwnedValue::Bool(true))) {
            return Err(QueryError::TooMuchWork { query: query.name });
        }
        let is_more = rows.len() > limit;
        let last = rows.get(limit.wrapping_sub(1)).filter(|_| is_more);
        let next_cursor = last.map(|row| question.cursor(&self.key, &row[columns..columns + order]));
        let answered: Arc<[Column]> = answered.into();
        let rows = rows.into_iter().take(limit).map(|mut values| {
            values.truncate(columns);
            AnswerRow { columns: answered.clone(), values }
        });
        Ok(Page { rows: rows.collect(), columns: answered, next_cursor })
    }
}

fn failed(
    error: &sqlx::Error,
    took_too_long: bool,
    cause: String,
    query: &'static Query,
    read_model: &'static str,
) -> QueryError {
    match error {
        _ if took_too_long => QueryError::TooMuchWork { query: query.name },
        sqlx::Error::ColumnDecode { .. } | sqlx::Error::Decode(_) => QueryError::Damaged { read_model, cause },
        _ => QueryError::Unavailable { read_model, cause },
    }
}

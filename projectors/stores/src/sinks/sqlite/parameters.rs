//! What a statement that writes many rows is given.

use annals_model::projection::{GroupRow, OwnedValue, RowKey, Tables, Value};

use super::statements::TableStatements;
use super::values::Parameters;

/// The values of rows of one table, each in its tables.
pub(super) fn row_parameters<'a>(
    table: &TableStatements,
    rows: impl ExactSizeIterator<Item = (&'a Tables, &'a RowKey)>,
    index: usize,
) -> Result<Parameters, sqlx::Error> {
    let mut parameters = Parameters::with_capacity(rows.len() * table.width);
    let mut values: Vec<Value<'_>> = Vec::with_capacity(table.width);
    for (tables, key) in rows {
        values.clear();
        // The key was listed by these very tables.
        let Some(life) = tables.values(index, key, &mut values) else { continue };
        parameters.key(key)?;
        values.iter().try_for_each(|value| parameters.value(*value))?;
        parameters.life(life)?;
    }
    Ok(parameters)
}

/// The values of groups of one rollup.
pub(super) fn group_parameters(table: &TableStatements, groups: &[GroupRow]) -> Result<Parameters, sqlx::Error> {
    let mut parameters = Parameters::with_capacity(groups.len() * table.width);
    for group in groups {
        parameters.key(&group.key)?;
        group.group.iter().map(OwnedValue::as_value).try_for_each(|value| parameters.value(value))?;
        group.measures.iter().try_for_each(|measure| parameters.value(Value::Int(*measure)))?;
    }
    Ok(parameters)
}

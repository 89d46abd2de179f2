//! What a write is to do: which column goes where, by which keys and partitions; or all that is wrong with it.

use super::check::{self, Problems, same};
use crate::model::{Result, TableName, WriteMode};
use crate::platform::Write;
use crate::spark_connect::{Field, Output, Type};

/// What is to be done, all checks passed.
pub(in crate::platform) struct Plan {
    /// The columns as they are written.
    pub(in crate::platform) fields: Vec<Field>,
    /// Each from the source.
    pub(in crate::platform) outputs: Vec<Output>,
    pub(in crate::platform) keys: Vec<String>,
    pub(in crate::platform) partition_by: Vec<String>,
    /// An overwrite keeps the table's columns.
    pub(in crate::platform) keeps_columns: bool,
}

/// A table that is there.
#[derive(Clone, Copy)]
pub(in crate::platform) struct There<'a> {
    pub(in crate::platform) name: &'a TableName,
    /// As the engine reads them now.
    pub(in crate::platform) fields: &'a [Field],
    pub(in crate::platform) partition_by: &'a [String],
}

/// Everything that is wrong with source and table together, or what is to be done.
pub(in crate::platform) fn plan(
    write: &Write,
    source: &[Field],
    existing: Option<There<'_>>,
    typed: bool,
    mut problems: Problems,
) -> Result<Plan> {
    check::check_source(source, &mut problems);
    let keeps = matches!(write.mode, WriteMode::Append | WriteMode::Merge);
    let own = existing.filter(|_| keeps).map(|e| e.fields);
    let (fields, mut outputs) = match (own, existing) {
        (Some(columns), Some(existing)) => (
            columns.to_vec(),
            check::into_table(existing.name, columns, source, &mut problems),
        ),
        _ => {
            check::check_new(source, &mut problems);
            let loose = |f: &Field| Field {
                nullable: !typed || f.nullable,
                ..f.clone()
            };
            (source.iter().map(loose).collect(), as_they_are(source))
        }
    };
    let mut keys = check::named("keys", &write.keys, source, &mut problems);
    if let Some(columns) = own {
        keys = check::named("keys", &keys, columns, &mut problems);
        if write.mode == WriteMode::Merge {
            // What the source does not have stays as it is.
            outputs.retain(|output| output.from.is_some());
        }
    }
    for key in &keys {
        if let Some(field) =
            check::find(&fields, key).filter(|f| f.data_type.holds(&|t| matches!(t, Type::Map(..))))
        {
            problems.add(format!(
                "keys: {key} is {}, which has no equality",
                field.data_type
            ));
        }
    }
    let asked = check::named("partition_by", &write.partition_by, &fields, &mut problems);
    let partition_by = match existing {
        None => {
            check::check_partitions(&asked, &fields, &mut problems);
            asked
        }
        Some(existing) => {
            let own = existing.partition_by;
            let equal = asked.len() == own.len() && asked.iter().zip(own).all(|(a, o)| same(a, o));
            if !write.partition_by.is_empty() && !equal {
                problems.add(format!(
                    "partition_by: {} is partitioned by {}",
                    existing.name,
                    if own.is_empty() {
                        "nothing".to_owned()
                    } else {
                        own.join(", ")
                    }
                ));
                problems.hint("Leave partition_by out for a table that is there.");
            }
            check::named("the table's partitions", own, &fields, &mut problems)
        }
    };
    let keeps_columns =
        existing.is_some_and(|e| keeps || check::same_columns(e.fields, &fields, typed));
    problems.finish()?;
    Ok(Plan {
        fields,
        outputs,
        keys,
        partition_by,
        keeps_columns,
    })
}

/// What is wrong with names of columns also when the source's values are: by the table's columns, and by those `seen`
/// in the source.
pub(in crate::platform) fn names(
    write: &Write,
    table: Option<&[Field]>,
    seen: &[String],
    problems: &mut Problems,
) {
    let seen: Vec<Field> = seen
        .iter()
        .map(|name| Field::new(name, Type::String))
        .collect();
    let source = Some(seen.as_slice()).filter(|fields| !fields.is_empty());
    if let Some(fields) = source.or(table) {
        check::named("keys", &write.keys, fields, problems);
    }
    if let Some(fields) = table.or(source) {
        check::named("partition_by", &write.partition_by, fields, problems);
    }
}

fn as_they_are(fields: &[Field]) -> Vec<Output> {
    fields
        .iter()
        .map(|f| Output {
            name: f.name.clone(),
            from: Some(f.name.clone()),
            cast: None,
        })
        .collect()
}

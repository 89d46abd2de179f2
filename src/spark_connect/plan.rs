//! The plans we send: SQL with bound values, a limit around it, a local file as a temp view.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;

use serde_json::Value;

use super::proto::{self, command::CommandType, expression, plan::OpType, relation::RelType};
use crate::model::{Code, Error, Result};

/// Rows of something: SQL, or what a command gave back.
#[derive(Clone, Debug)]
pub(crate) struct Relation {
    inner: proto::Relation,
    text: Option<String>,
}

/// What one operation executes.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    inner: proto::Plan,
    text: Option<String>,
}

/// Formats of local files that become temp views.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FileFormat {
    /// With a header; types are inferred.
    Csv,
    /// One object per line.
    JsonLines,
    /// Parquet.
    Parquet,
}

impl Relation {
    /// An SQL text with values bound by name.
    ///
    /// # Errors
    /// `invalid_argument` for a value that has no literal (arrays, objects).
    pub(crate) fn sql_named(text: &str, values: &BTreeMap<String, Value>) -> Result<Self> {
        let named_arguments = values
            .iter()
            .map(|(name, value)| Ok((name.clone(), literal(name, value)?)))
            .collect::<Result<HashMap<_, _>>>()?;
        Ok(Self::from_sql(proto::Sql {
            query: text.to_owned(),
            named_arguments,
            ..Default::default()
        }))
    }

    /// An SQL text with values bound by place.
    ///
    /// # Errors
    /// As [`Relation::sql_named`].
    pub(crate) fn sql_positional(text: &str, values: &[Value]) -> Result<Self> {
        let pos_arguments = values
            .iter()
            .enumerate()
            .map(|(place, value)| literal(&format!("number {}", place + 1), value))
            .collect::<Result<Vec<_>>>()?;
        Ok(Self::from_sql(proto::Sql {
            query: text.to_owned(),
            pos_arguments,
            ..Default::default()
        }))
    }

    fn from_sql(sql: proto::Sql) -> Self {
        let text = Some(sql.query.clone());
        Self {
            inner: relation(RelType::Sql(sql)),
            text,
        }
    }

    pub(super) fn from_proto(inner: proto::Relation) -> Self {
        Self { inner, text: None }
    }

    /// A local file.
    pub(crate) fn file(path: &Path, format: FileFormat) -> Result<Self> {
        let Some(path) = path.to_str() else {
            return Err(Error::new(
                Code::InvalidArgument,
                format!("the path {} is not UTF-8", path.display()),
            )
            .hint("Rename the file, or link to it under a name in UTF-8."));
        };
        let (format, options): (&str, &[(&str, &str)]) = match format {
            FileFormat::Csv => ("csv", &[("header", "true"), ("inferSchema", "true")]),
            FileFormat::JsonLines => ("json", &[]),
            FileFormat::Parquet => ("parquet", &[]),
        };
        Ok(Self::source(format, path, options))
    }

    /// What a data source of that name reads at a path.
    pub(super) fn source(format: &str, path: &str, options: &[(&str, &str)]) -> Self {
        Self::from_proto(relation(RelType::Read(proto::Read {
            is_streaming: false,
            read_type: Some(proto::read::ReadType::DataSource(proto::read::DataSource {
                format: Some(format.to_owned()),
                options: options
                    .iter()
                    .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()))
                    .collect(),
                paths: vec![path.to_owned()],
                ..Default::default()
            })),
        })))
    }

    /// The same with something around it.
    pub(super) fn around(self, outer: impl FnOnce(proto::Relation) -> RelType) -> Self {
        Self {
            inner: relation(outer(self.inner)),
            text: self.text,
        }
    }

    pub(super) fn into_proto(self) -> proto::Relation {
        self.inner
    }

    /// The user's SQL, to place an error in it.
    pub(super) fn text(&self) -> Option<&str> {
        self.text.as_deref()
    }

    /// Takes a temp view away, and says whether it was there.
    pub(crate) fn drop_temp_view(name: &str) -> Self {
        Self::catalog(proto::catalog::CatType::DropTempView(proto::DropTempView {
            view_name: name.to_owned(),
        }))
    }

    /// The tables of a database, and the temp views of the session.
    pub(crate) fn list_tables(database: &str) -> Self {
        Self::catalog(proto::catalog::CatType::ListTables(proto::ListTables {
            db_name: Some(database.to_owned()),
            pattern: None,
        }))
    }

    /// The columns of a table or view; its name as SQL reads it.
    pub(crate) fn list_columns(name: &str) -> Self {
        Self::catalog(proto::catalog::CatType::ListColumns(proto::ListColumns {
            table_name: name.to_owned(),
            db_name: None,
        }))
    }

    fn catalog(call: proto::catalog::CatType) -> Self {
        Self::from_proto(relation(RelType::Catalog(proto::Catalog {
            cat_type: Some(call),
        })))
    }

    /// The same rows, where a place in the text would not be one in the user's.
    pub(crate) fn without_place(mut self) -> Self {
        self.text = None;
        self
    }

    /// At most that many rows.
    pub(crate) fn limit(self, rows: u64) -> Self {
        Self {
            inner: relation(RelType::Limit(Box::new(proto::Limit {
                input: Some(Box::new(self.inner)),
                limit: i32::try_from(rows).unwrap_or(i32::MAX),
            }))),
            text: self.text,
        }
    }

    /// The relation's rows.
    pub(crate) fn rows(self) -> Plan {
        Plan {
            inner: proto::Plan {
                op_type: Some(OpType::Root(self.inner)),
            },
            text: self.text,
        }
    }

    /// Runs an SQL text whatever it is; a command has run when the operation ends.
    pub(crate) fn command(self) -> Plan {
        Plan::command(
            CommandType::SqlCommand(proto::SqlCommand {
                input: Some(self.inner),
                ..Default::default()
            }),
            self.text,
        )
    }

    /// Makes it a temp view of the session. One of that name is replaced, or is an error.
    pub(crate) fn temp_view(self, name: &str, replace: bool) -> Plan {
        Plan::command(
            CommandType::CreateDataframeView(proto::CreateDataFrameViewCommand {
                input: Some(self.inner),
                name: name.to_owned(),
                is_global: false,
                replace,
            }),
            None,
        )
    }
}

impl Plan {
    pub(super) fn command(command: CommandType, text: Option<String>) -> Self {
        Self {
            inner: proto::Plan {
                op_type: Some(OpType::Command(proto::Command {
                    command_type: Some(command),
                })),
            },
            text,
        }
    }

    pub(super) fn to_proto(&self) -> proto::Plan {
        self.inner.clone()
    }

    /// The user's SQL, to place an error in it.
    pub(super) fn text(&self) -> Option<&str> {
        self.text.as_deref()
    }
}

pub(super) fn relation(rel_type: RelType) -> proto::Relation {
    proto::Relation {
        common: None,
        rel_type: Some(rel_type),
    }
}

fn literal(name: &str, value: &Value) -> Result<proto::Expression> {
    use expression::literal::LiteralType;
    let literal_type = match value {
        Value::Null => LiteralType::Null(proto::DataType {
            kind: Some(proto::data_type::Kind::Null(proto::data_type::Null {
                type_variation_reference: 0,
            })),
        }),
        Value::Bool(b) => LiteralType::Boolean(*b),
        Value::Number(n) => match (n.as_i64(), n.as_f64()) {
            (Some(whole), _) => LiteralType::Long(whole),
            (None, Some(float)) if n.is_f64() => LiteralType::Double(float),
            _ => {
                return Err(Error::new(
                    Code::InvalidArgument,
                    format!("parameter {name}: {n} does not fit a BIGINT"),
                )
                .hint(
                    "Pass it as a string and cast it in the SQL: cast(:name as decimal(38,0)).",
                ));
            }
        },
        Value::String(text) => LiteralType::String(text.clone()),
        Value::Array(_) | Value::Object(_) => {
            return Err(Error::new(
                Code::InvalidArgument,
                format!("parameter {name} is an array or object; only single values can be bound"),
            )
            .hint("Bind each value by a name of its own, or pass JSON text and use from_json in the SQL."));
        }
    };
    Ok(proto::Expression {
        common: None,
        expr_type: Some(expression::ExprType::Literal(expression::Literal {
            literal_type: Some(literal_type),
            ..Default::default()
        })),
    })
}

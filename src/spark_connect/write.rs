//! The plans that a write of a table needs: rows that we hold, columns by name and type, and the write itself.

use super::plan::{Plan, Relation, relation};
use super::proto::{self, command::CommandType, expression, relation::RelType};
use super::schema::{Field, Type, quoted};

/// One column of a projection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Output {
    /// Its name afterwards.
    pub name: String,
    /// The column that it is taken from; `None`: NULL.
    pub from: Option<String>,
    /// The type that it is cast to; `None`: it stays as it is.
    pub cast: Option<Type>,
}

/// What a write does with rows that are there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SaveMode {
    /// They stay.
    Append,
    /// They go.
    Overwrite,
}

/// Where a write goes.
#[derive(Clone, Debug)]
pub(crate) enum Destination {
    /// A Delta table by its folder.
    Path(String),
    /// A table by its name, quoted where need be: rows go in by the place of their columns.
    Table(String),
}

/// A write.
#[derive(Clone, Debug)]
pub(crate) struct Save {
    /// Where.
    pub to: Destination,
    /// How.
    pub mode: SaveMode,
    /// The columns that the table is partitioned by.
    pub partition_by: Vec<String>,
    /// The table's columns become those of the rows.
    pub overwrite_schema: bool,
    /// Kept with the commit, so that it is known again.
    pub mark: String,
}

impl Relation {
    /// Rows that we hold, as an Arrow IPC stream.
    pub(crate) fn local(data: Vec<u8>) -> Self {
        Self::from_proto(relation(RelType::LocalRelation(proto::LocalRelation {
            data: Some(data.into()),
            schema: None,
        })))
    }

    /// A Delta table by its folder.
    pub(crate) fn delta(path: &str) -> Self {
        Self::source("delta", path, &[])
    }

    /// A table or view by its name, quoted where need be.
    pub(crate) fn table(name: &str) -> Self {
        Self::from_proto(relation(RelType::Read(proto::Read {
            is_streaming: false,
            read_type: Some(proto::read::ReadType::NamedTable(proto::read::NamedTable {
                unparsed_identifier: name.to_owned(),
                ..Default::default()
            })),
        })))
    }

    /// These columns, in this order.
    pub(crate) fn select(self, columns: &[Output]) -> Self {
        let expressions = columns.iter().map(expression).collect();
        self.around(|input| {
            RelType::Project(Box::new(proto::Project {
                input: Some(Box::new(input)),
                expressions,
            }))
        })
    }

    /// The rows of both, by the place of their columns.
    pub(crate) fn union(self, other: Self) -> Self {
        let other = other.into_proto();
        self.around(|input| {
            RelType::SetOp(Box::new(proto::SetOperation {
                left_input: Some(Box::new(input)),
                right_input: Some(Box::new(other)),
                set_op_type: proto::set_operation::SetOpType::Union.into(),
                is_all: Some(true),
                by_name: Some(false),
                ..Default::default()
            }))
        })
    }

    /// Writes the rows to a table.
    pub(crate) fn save(self, save: Save) -> Plan {
        use proto::write_operation::{SaveMode as Mode, SaveTable, SaveType, save_table};
        let text = self.text().map(str::to_owned);
        let (source, save_type) = match save.to {
            Destination::Path(path) => (Some("delta".to_owned()), SaveType::Path(path)),
            Destination::Table(table_name) => (
                None,
                SaveType::Table(SaveTable {
                    table_name,
                    save_method: save_table::TableSaveMethod::InsertInto.into(),
                }),
            ),
        };
        let mut options = vec![("userMetadata".to_owned(), save.mark)];
        if save.overwrite_schema {
            options.push(("overwriteSchema".to_owned(), "true".to_owned()));
        }
        let mode = match save.mode {
            SaveMode::Append => Mode::Append,
            SaveMode::Overwrite => Mode::Overwrite,
        };
        let write = proto::WriteOperation {
            input: Some(self.into_proto()),
            source,
            mode: mode.into(),
            partitioning_columns: save.partition_by,
            options: options.into_iter().collect(),
            save_type: Some(save_type),
            ..Default::default()
        };
        Plan::command(CommandType::WriteOperation(write), text)
    }
}

fn expression(output: &Output) -> proto::Expression {
    use expression::{ExprType, cast};
    let whole = |expr_type| proto::Expression {
        common: None,
        expr_type: Some(expr_type),
    };
    let value = match &output.from {
        Some(name) => whole(ExprType::UnresolvedAttribute(
            expression::UnresolvedAttribute {
                unparsed_identifier: quoted(name),
                ..Default::default()
            },
        )),
        None => whole(ExprType::Literal(expression::Literal {
            literal_type: Some(expression::literal::LiteralType::Null(proto::DataType {
                kind: Some(proto::data_type::Kind::Null(proto::data_type::Null {
                    type_variation_reference: 0,
                })),
            })),
            ..Default::default()
        })),
    };
    let value = match &output.cast {
        Some(data_type) => whole(ExprType::Cast(Box::new(expression::Cast {
            expr: Some(Box::new(value)),
            cast_to_type: Some(cast::CastToType::TypeStr(data_type.to_string())),
            eval_mode: expression::cast::EvalMode::Ansi.into(),
        }))),
        None => value,
    };
    whole(ExprType::Alias(Box::new(expression::Alias {
        expr: Some(Box::new(value)),
        name: vec![output.name.clone()],
        metadata: None,
    })))
}

/// The fields of an analysed schema, or `None` for what is no struct.
pub(super) fn fields_of(schema: Option<&proto::DataType>) -> Option<Vec<Field>> {
    schema.and_then(super::schema::fields)
}

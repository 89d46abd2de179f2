//! Spark's types as values: read from the protocol, written for Arrow, for the log of a Delta table, and in Spark's
//! own spelling. Whether a place may hold NULL is known of columns only: all that we make inside of them may.

use std::fmt;
use std::sync::Arc;

use arrow_schema::{DataType as Arrow, Field as ArrowField, Fields, TimeUnit};
use serde_json::{Value, json};

use super::proto::{self, data_type::Kind};
use super::types;

/// A type that a table's column may have, and some that it may not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Type {
    /// Of NULL alone.
    Void,
    /// `boolean`.
    Boolean,
    /// `tinyint`.
    Byte,
    /// `smallint`.
    Short,
    /// `int`.
    Int,
    /// `bigint`.
    Long,
    /// `float`.
    Float,
    /// `double`.
    Double,
    /// `decimal(p,s)`.
    Decimal(u8, i8),
    /// `string`; `char` and `varchar` too.
    String,
    /// `binary`.
    Binary,
    /// `date`.
    Date,
    /// An instant.
    Timestamp,
    /// What a clock and a calendar show.
    TimestampNtz,
    /// `array<…>`.
    Array(Box<Type>),
    /// `map<…,…>`.
    Map(Box<Type>, Box<Type>),
    /// `struct<…>`.
    Struct(Vec<Field>),
    /// Any other, as it is spelt: no column of a table may have it.
    Other(String),
}

/// A column, or a part of a struct.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Field {
    /// Its name.
    pub name: String,
    /// Its type.
    pub data_type: Type,
    /// It may hold NULL.
    pub nullable: bool,
}

impl Field {
    /// A field that may hold NULL.
    pub(crate) fn new(name: impl Into<String>, data_type: Type) -> Self {
        Self {
            name: name.into(),
            data_type,
            nullable: true,
        }
    }
}

/// The fields of a schema; `None` when it is not a struct.
pub(super) fn fields(schema: &proto::DataType) -> Option<Vec<Field>> {
    match Type::from_proto(schema) {
        Type::Struct(fields) => Some(fields),
        _ => None,
    }
}

impl Type {
    fn from_proto(data_type: &proto::DataType) -> Self {
        let part = |part: &Option<Box<proto::DataType>>| {
            Box::new(part.as_deref().map_or(Self::Void, Self::from_proto))
        };
        match data_type.kind.as_ref() {
            None | Some(Kind::Null(_)) => Self::Void,
            Some(Kind::Boolean(_)) => Self::Boolean,
            Some(Kind::Byte(_)) => Self::Byte,
            Some(Kind::Short(_)) => Self::Short,
            Some(Kind::Integer(_)) => Self::Int,
            Some(Kind::Long(_)) => Self::Long,
            Some(Kind::Float(_)) => Self::Float,
            Some(Kind::Double(_)) => Self::Double,
            Some(Kind::Decimal(d)) => Self::Decimal(
                u8::try_from(d.precision.unwrap_or(10)).unwrap_or(38),
                i8::try_from(d.scale.unwrap_or(0)).unwrap_or(0),
            ),
            Some(Kind::String(_) | Kind::Char(_) | Kind::VarChar(_)) => Self::String,
            Some(Kind::Binary(_)) => Self::Binary,
            Some(Kind::Date(_)) => Self::Date,
            Some(Kind::Timestamp(_)) => Self::Timestamp,
            Some(Kind::TimestampNtz(_)) => Self::TimestampNtz,
            Some(Kind::Array(a)) => Self::Array(part(&a.element_type)),
            Some(Kind::Map(m)) => Self::Map(part(&m.key_type), part(&m.value_type)),
            Some(Kind::Struct(s)) => Self::Struct(
                s.fields
                    .iter()
                    .map(|f| Field {
                        name: f.name.clone(),
                        data_type: f.data_type.as_ref().map_or(Self::Void, Self::from_proto),
                        nullable: f.nullable,
                    })
                    .collect(),
            ),
            Some(_) => Self::Other(types::name(data_type)),
        }
    }

    /// From Spark's JSON of a type, which is also a Delta log's; a type that is not known keeps its spelling.
    pub(crate) fn from_json(json: &Value) -> Self {
        let part = |key: &str| Self::from_json(json.get(key).unwrap_or(&Value::Null));
        match json.get("type").and_then(Value::as_str) {
            Some("struct") => return Self::Struct(fields_of_json(json)),
            Some("array") => return Self::Array(Box::new(part("elementType"))),
            Some("map") => {
                return Self::Map(Box::new(part("keyType")), Box::new(part("valueType")));
            }
            // A type of its maker's own is written as what it is made of.
            Some("udt") => return part("sqlType"),
            _ => {}
        }
        let name = json.as_str().unwrap_or_default();
        match name {
            "void" | "null" => Self::Void,
            "boolean" => Self::Boolean,
            "byte" | "tinyint" => Self::Byte,
            "short" | "smallint" => Self::Short,
            "integer" | "int" => Self::Int,
            "long" | "bigint" => Self::Long,
            "float" => Self::Float,
            "double" => Self::Double,
            "decimal" => Self::Decimal(10, 0),
            "binary" => Self::Binary,
            "date" => Self::Date,
            "timestamp" => Self::Timestamp,
            "timestamp_ntz" => Self::TimestampNtz,
            name if ["string", "char(", "varchar("]
                .iter()
                .any(|text| name.starts_with(text)) =>
            {
                Self::String
            }
            name => {
                let digits = name
                    .strip_prefix("decimal(")
                    .and_then(|rest| rest.strip_suffix(')'))
                    .and_then(|rest| rest.split_once(','))
                    .and_then(|(p, s)| Some((p.trim().parse().ok()?, s.trim().parse().ok()?)));
                match digits {
                    Some((precision, scale)) => Self::Decimal(precision, scale),
                    None if name.is_empty() => Self::Other(json.to_string()),
                    None => Self::Other(name.to_owned()),
                }
            }
        }
    }

    /// From an Arrow type; what Spark has no type for becomes the nearest one that loses nothing.
    fn from_arrow(kind: &Arrow) -> Self {
        let item = |field: &ArrowField| Box::new(Self::from_arrow(field.data_type()));
        match kind {
            Arrow::Null => Self::Void,
            Arrow::Boolean => Self::Boolean,
            Arrow::Int8 => Self::Byte,
            Arrow::Int16 | Arrow::UInt8 => Self::Short,
            Arrow::Int32 | Arrow::UInt16 => Self::Int,
            Arrow::Int64 | Arrow::UInt32 => Self::Long,
            Arrow::UInt64 => Self::Decimal(20, 0),
            Arrow::Float16 | Arrow::Float32 => Self::Float,
            Arrow::Float64 => Self::Double,
            Arrow::Decimal32(p, s)
            | Arrow::Decimal64(p, s)
            | Arrow::Decimal128(p, s)
            | Arrow::Decimal256(p, s)
                if *p <= 38 && *s >= 0 =>
            {
                Self::Decimal(*p, *s)
            }
            Arrow::Utf8 | Arrow::LargeUtf8 | Arrow::Utf8View => Self::String,
            Arrow::Binary | Arrow::LargeBinary | Arrow::BinaryView | Arrow::FixedSizeBinary(_) => {
                Self::Binary
            }
            Arrow::Date32 | Arrow::Date64 => Self::Date,
            Arrow::Timestamp(_, Some(_)) => Self::Timestamp,
            Arrow::Timestamp(_, None) => Self::TimestampNtz,
            Arrow::List(field) | Arrow::LargeList(field) | Arrow::FixedSizeList(field, _) => {
                Self::Array(item(field))
            }
            Arrow::Struct(fields) => {
                Self::Struct(fields.iter().map(|f| Field::from_arrow(f)).collect())
            }
            Arrow::Map(entries, _) => match entries.data_type() {
                Arrow::Struct(pair) => match pair.as_ref() {
                    [key, value] => Self::Map(item(key), item(value)),
                    _ => Self::Other(kind.to_string()),
                },
                _ => Self::Other(kind.to_string()),
            },
            Arrow::Dictionary(_, value) => Self::from_arrow(value),
            other => Self::Other(types::from_arrow(other)),
        }
    }

    /// Whether `wanted` is this type or somewhere inside of it.
    pub(crate) fn holds(&self, wanted: &dyn Fn(&Self) -> bool) -> bool {
        wanted(self)
            || match self {
                Self::Array(item) => item.holds(wanted),
                Self::Map(key, value) => key.holds(wanted) || value.holds(wanted),
                Self::Struct(fields) => fields.iter().any(|f| f.data_type.holds(wanted)),
                _ => false,
            }
    }

    /// As Arrow has it; [`Type::Other`] has no form there and is text.
    pub(crate) fn arrow(&self) -> Arrow {
        let list = |name: &str, item: &Self| Arc::new(ArrowField::new(name, item.arrow(), true));
        match self {
            Self::Void => Arrow::Null,
            Self::Boolean => Arrow::Boolean,
            Self::Byte => Arrow::Int8,
            Self::Short => Arrow::Int16,
            Self::Int => Arrow::Int32,
            Self::Long => Arrow::Int64,
            Self::Float => Arrow::Float32,
            Self::Double => Arrow::Float64,
            Self::Decimal(precision, scale) => Arrow::Decimal128(*precision, *scale),
            Self::String | Self::Other(_) => Arrow::Utf8,
            Self::Binary => Arrow::Binary,
            Self::Date => Arrow::Date32,
            Self::Timestamp => Arrow::Timestamp(TimeUnit::Microsecond, Some("UTC".into())),
            Self::TimestampNtz => Arrow::Timestamp(TimeUnit::Microsecond, None),
            Self::Array(item) => Arrow::List(list("element", item)),
            Self::Map(key, value) => {
                let entries = [
                    Arc::new(ArrowField::new("key", key.arrow(), false)),
                    list("value", value),
                ];
                let entries = Arrow::Struct(Fields::from_iter(entries));
                Arrow::Map(Arc::new(ArrowField::new("entries", entries, false)), false)
            }
            Self::Struct(fields) => Arrow::Struct(fields.iter().map(|f| f.arrow()).collect()),
        }
    }

    /// As a Delta log spells it.
    pub(crate) fn json(&self) -> Value {
        match self {
            Self::Byte => json!("byte"),
            Self::Short => json!("short"),
            Self::Int => json!("integer"),
            Self::Long => json!("long"),
            Self::Array(item) => {
                json!({"type": "array", "elementType": item.json(), "containsNull": true})
            }
            Self::Map(key, value) => {
                json!({"type": "map", "keyType": key.json(), "valueType": value.json(), "valueContainsNull": true})
            }
            Self::Struct(fields) => schema_json(fields),
            simple => json!(simple.to_string()),
        }
    }
}

impl Field {
    /// From a column of Arrow.
    pub(crate) fn from_arrow(field: &ArrowField) -> Self {
        Self::new(field.name(), Type::from_arrow(field.data_type()))
    }

    /// As Arrow has it.
    pub(crate) fn arrow(&self) -> ArrowField {
        ArrowField::new(&self.name, self.data_type.arrow(), true)
    }
}

/// A schema as a Delta log spells it.
pub(crate) fn schema_json(fields: &[Field]) -> Value {
    let fields: Vec<Value> = fields
        .iter()
        .map(|f| json!({"name": f.name, "type": f.data_type.json(), "nullable": f.nullable, "metadata": {}}))
        .collect();
    json!({"type": "struct", "fields": fields})
}

/// The fields of a schema in Spark's JSON; none where it is no struct.
pub(crate) fn fields_of_json(schema: &Value) -> Vec<Field> {
    let fields = schema.get("fields").and_then(Value::as_array);
    let field = |field: &Value| Field {
        name: field
            .get("name")
            .and_then(Value::as_str)
            .unwrap_or_default()
            .to_owned(),
        data_type: Type::from_json(field.get("type").unwrap_or(&Value::Null)),
        nullable: field.get("nullable").and_then(Value::as_bool) != Some(false),
    };
    fields.into_iter().flatten().map(field).collect()
}

/// A name as the protocol's texts of types and columns read it: in backquotes where it needs them.
pub(super) fn quoted(name: &str) -> String {
    let plain = name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
    if plain {
        name.to_owned()
    } else {
        format!("`{}`", name.replace('`', "``"))
    }
}

/// As Spark spells it; a schema string takes it back.
impl fmt::Display for Type {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Void => f.write_str("void"),
            Self::Boolean => f.write_str("boolean"),
            Self::Byte => f.write_str("tinyint"),
            Self::Short => f.write_str("smallint"),
            Self::Int => f.write_str("int"),
            Self::Long => f.write_str("bigint"),
            Self::Float => f.write_str("float"),
            Self::Double => f.write_str("double"),
            Self::Decimal(precision, scale) => write!(f, "decimal({precision},{scale})"),
            Self::String => f.write_str("string"),
            Self::Binary => f.write_str("binary"),
            Self::Date => f.write_str("date"),
            Self::Timestamp => f.write_str("timestamp"),
            Self::TimestampNtz => f.write_str("timestamp_ntz"),
            Self::Array(item) => write!(f, "array<{item}>"),
            Self::Map(key, value) => write!(f, "map<{key},{value}>"),
            Self::Struct(fields) => {
                f.write_str("struct<")?;
                for (place, field) in fields.iter().enumerate() {
                    let comma = if place == 0 { "" } else { "," };
                    write!(f, "{comma}{}:{}", quoted(&field.name), field.data_type)?;
                }
                f.write_str(">")
            }
            Self::Other(name) => f.write_str(name),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nested() -> Type {
        Type::Struct(vec![
            Field::new("plain", Type::Decimal(38, 18)),
            Field::new(
                "with space",
                Type::Map(
                    Box::new(Type::String),
                    Box::new(Type::Array(Box::new(Type::TimestampNtz))),
                ),
            ),
        ])
    }

    #[test]
    fn a_type_is_spelt_as_spark_reads_it() {
        assert_eq!(
            nested().to_string(),
            "struct<plain:decimal(38,18),`with space`:map<string,array<timestamp_ntz>>>"
        );
    }

    #[test]
    fn a_schema_is_spelt_as_a_delta_log_reads_it() {
        let mut id = Field::new("id", Type::Long);
        id.nullable = false;
        let schema = schema_json(&[id, Field::new("n", nested())]);
        assert_eq!(
            schema,
            json!({"type": "struct", "fields": [
                {"name": "id", "type": "long", "nullable": false, "metadata": {}},
                {"name": "n", "nullable": true, "metadata": {}, "type": {"type": "struct", "fields": [
                    {"name": "plain", "type": "decimal(38,18)", "nullable": true, "metadata": {}},
                    {"name": "with space", "nullable": true, "metadata": {}, "type": {
                        "type": "map", "keyType": "string", "valueContainsNull": true,
                        "valueType": {"type": "array", "elementType": "timestamp_ntz", "containsNull": true},
                    }},
                ]}},
            ]})
        );
        assert_eq!(
            Type::from_json(&schema),
            Type::Struct(fields_of_json(&schema))
        );
        assert_eq!(schema_json(&fields_of_json(&schema)), schema);
        for (name, read) in [
            ("varchar(3)", "string"),
            ("variant", "variant"),
            ("decimal", "decimal(10,0)"),
        ] {
            assert_eq!(Type::from_json(&json!(name)).to_string(), read);
        }
    }

    #[test]
    fn what_arrow_has_comes_back_from_it() {
        let arrow = nested().arrow();
        assert_eq!(Type::from_arrow(&arrow), nested());
        for (kind, read) in [
            (Arrow::UInt64, "decimal(20,0)"),
            (
                Arrow::Dictionary(Box::new(Arrow::Int8), Box::new(Arrow::LargeUtf8)),
                "string",
            ),
            (Arrow::Time64(TimeUnit::Nanosecond), "time(6)"),
        ] {
            assert_eq!(Type::from_arrow(&kind).to_string(), read);
        }
    }

    #[test]
    fn the_protocol_s_types_are_read_and_unknown_ones_keep_their_name() {
        let of = |kind| proto::DataType { kind: Some(kind) };
        let variant = of(Kind::Variant(proto::data_type::Variant::default()));
        let list = of(Kind::Array(Box::new(proto::data_type::Array {
            element_type: Some(Box::new(variant)),
            ..Default::default()
        })));
        let read = Type::from_proto(&list);
        assert_eq!(read.to_string(), "array<variant>");
        assert!(read.holds(&|part| matches!(part, Type::Other(_))));
        assert_eq!(
            Type::from_proto(&of(Kind::VarChar(Default::default()))),
            Type::String
        );
    }
}

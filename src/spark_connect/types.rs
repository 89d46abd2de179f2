//! Spark's own spelling of types, from the protocol's schema or from an Arrow schema.

use arrow_schema::{DataType as Arrow, IntervalUnit, TimeUnit};

use super::proto::{self, data_type::Kind};
use crate::model::Column;

/// The columns of a result's schema; `None` when it is not a struct.
pub(super) fn columns(schema: &proto::DataType) -> Option<Vec<Column>> {
    match schema.kind.as_ref()? {
        Kind::Struct(fields) => Some(
            fields
                .fields
                .iter()
                .map(|f| Column::new(f.name.clone(), optional(f.data_type.as_ref())))
                .collect(),
        ),
        _ => None,
    }
}

fn optional(data_type: Option<&proto::DataType>) -> String {
    data_type.map_or_else(|| "unknown".to_owned(), name)
}

pub(super) fn name(data_type: &proto::DataType) -> String {
    let Some(kind) = data_type.kind.as_ref() else {
        return "unknown".to_owned();
    };
    match kind {
        Kind::Null(_) => "void".to_owned(),
        Kind::Binary(_) => "binary".to_owned(),
        Kind::Boolean(_) => "boolean".to_owned(),
        Kind::Byte(_) => "tinyint".to_owned(),
        Kind::Short(_) => "smallint".to_owned(),
        Kind::Integer(_) => "int".to_owned(),
        Kind::Long(_) => "bigint".to_owned(),
        Kind::Float(_) => "float".to_owned(),
        Kind::Double(_) => "double".to_owned(),
        Kind::Decimal(d) => {
            format!(
                "decimal({},{})",
                d.precision.unwrap_or(10),
                d.scale.unwrap_or(0)
            )
        }
        Kind::String(_) => "string".to_owned(),
        Kind::Char(c) => format!("char({})", c.length),
        Kind::VarChar(c) => format!("varchar({})", c.length),
        Kind::Date(_) => "date".to_owned(),
        Kind::Timestamp(_) => "timestamp".to_owned(),
        Kind::TimestampNtz(_) => "timestamp_ntz".to_owned(),
        Kind::TimestampNtzNanos(t) => format!("timestamp_ntz({})", t.precision.unwrap_or(9)),
        Kind::TimestampLtzNanos(t) => format!("timestamp({})", t.precision.unwrap_or(9)),
        Kind::Time(t) => format!("time({})", t.precision.unwrap_or(6)),
        Kind::CalendarInterval(_) => "interval".to_owned(),
        Kind::YearMonthInterval(i) => interval(
            &["year", "month"],
            i.start_field.unwrap_or(0),
            i.end_field.unwrap_or(1),
        ),
        Kind::DayTimeInterval(i) => interval(
            &["day", "hour", "minute", "second"],
            i.start_field.unwrap_or(0),
            i.end_field.unwrap_or(3),
        ),
        Kind::Array(a) => format!("array<{}>", optional(a.element_type.as_deref())),
        Kind::Map(m) => format!(
            "map<{},{}>",
            optional(m.key_type.as_deref()),
            optional(m.value_type.as_deref())
        ),
        Kind::Struct(s) => {
            let fields: Vec<String> = s
                .fields
                .iter()
                .map(|f| format!("{}:{}", f.name, optional(f.data_type.as_ref())))
                .collect();
            format!("struct<{}>", fields.join(","))
        }
        Kind::Variant(_) => "variant".to_owned(),
        Kind::Geometry(g) => format!("geometry({})", g.srid),
        Kind::Geography(g) => format!("geography({})", g.srid),
        Kind::Udt(u) => optional(u.sql_type.as_deref()),
        Kind::Unparsed(u) => u.data_type_string.clone(),
    }
}

fn interval(fields: &[&str], start: i32, end: i32) -> String {
    let field = |place: i32| {
        usize::try_from(place)
            .ok()
            .and_then(|place| fields.get(place))
            .copied()
            .unwrap_or("unknown")
    };
    if start == end {
        format!("interval {}", field(start))
    } else {
        format!("interval {} to {}", field(start), field(end))
    }
}

/// The same from an Arrow type, for servers that send no schema.
pub(super) fn from_arrow(data_type: &Arrow) -> String {
    match data_type {
        Arrow::Null => "void".to_owned(),
        Arrow::Boolean => "boolean".to_owned(),
        Arrow::Int8 => "tinyint".to_owned(),
        Arrow::Int16 | Arrow::UInt8 => "smallint".to_owned(),
        Arrow::Int32 | Arrow::UInt16 => "int".to_owned(),
        Arrow::Int64 | Arrow::UInt32 => "bigint".to_owned(),
        Arrow::UInt64 => "decimal(20,0)".to_owned(),
        Arrow::Float16 | Arrow::Float32 => "float".to_owned(),
        Arrow::Float64 => "double".to_owned(),
        Arrow::Decimal32(p, s)
        | Arrow::Decimal64(p, s)
        | Arrow::Decimal128(p, s)
        | Arrow::Decimal256(p, s) => format!("decimal({p},{s})"),
        Arrow::Utf8 | Arrow::LargeUtf8 | Arrow::Utf8View => "string".to_owned(),
        Arrow::Binary | Arrow::LargeBinary | Arrow::BinaryView | Arrow::FixedSizeBinary(_) => {
            "binary".to_owned()
        }
        Arrow::Date32 | Arrow::Date64 => "date".to_owned(),
        Arrow::Timestamp(_, Some(_)) => "timestamp".to_owned(),
        Arrow::Timestamp(_, None) => "timestamp_ntz".to_owned(),
        Arrow::Time32(TimeUnit::Second) => "time(0)".to_owned(),
        Arrow::Time32(_) => "time(3)".to_owned(),
        Arrow::Time64(_) => "time(6)".to_owned(),
        Arrow::Duration(_) => "interval day to second".to_owned(),
        Arrow::Interval(IntervalUnit::YearMonth) => "interval year to month".to_owned(),
        Arrow::Interval(_) => "interval".to_owned(),
        Arrow::List(f)
        | Arrow::LargeList(f)
        | Arrow::ListView(f)
        | Arrow::LargeListView(f)
        | Arrow::FixedSizeList(f, _) => format!("array<{}>", from_arrow(f.data_type())),
        Arrow::Struct(fields) => {
            let fields: Vec<String> = fields
                .iter()
                .map(|f| format!("{}:{}", f.name(), from_arrow(f.data_type())))
                .collect();
            format!("struct<{}>", fields.join(","))
        }
        Arrow::Map(entries, _) => match entries.data_type() {
            Arrow::Struct(pair) => {
                let parts: Vec<String> = pair.iter().map(|f| from_arrow(f.data_type())).collect();
                format!("map<{}>", parts.join(","))
            }
            _ => "map<unknown,unknown>".to_owned(),
        },
        Arrow::Dictionary(_, value) => from_arrow(value),
        Arrow::RunEndEncoded(_, value) => from_arrow(value.data_type()),
        Arrow::Union(..) => "variant".to_owned(),
    }
}

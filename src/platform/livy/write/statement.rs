//! The statements of a write as texts: columns, checks, and what writes. Pure.

use serde_json::{Map, Value, json};

use super::Existing;
use crate::model::{Code, Error, Result, WriteMode};
use crate::platform::Write;
use crate::platform::write::check::same;
use crate::platform::write::plan::Plan;
use crate::platform::write::said::{self, KEYS_SHOWN};
use crate::spark_connect::{Field, Output, Type};
use crate::sql::quote;

/// A column as a projection spells it.
pub(super) fn output(output: &Output) -> String {
    let name = quote(&output.name);
    let from = output
        .from
        .as_deref()
        .map_or_else(|| "null".to_owned(), quote);
    match &output.cast {
        Some(kind) => format!("cast({from} as {kind}) as {name}"),
        None => format!("{from} as {name}"),
    }
}

/// How often a key stands there: Spark orders by no aggregate that `having` has used.
const COUNT: &str = "sparklease_count";

/// What is asked about the rows before they are written.
#[derive(Default)]
pub(super) struct Checks {
    texts: Vec<String>,
    asked: Vec<Asked>,
}

enum Asked {
    /// How many rows have NULL in a key.
    Nulls,
    /// Keys that stand there more than once.
    Twice,
    /// How many rows have an empty text in each of these columns.
    Empty(Vec<String>),
    /// How many rows have NULL in each of these.
    Strict(Vec<String>),
}

impl Checks {
    /// For a write by this plan; `strict` are columns that may not hold NULL.
    pub(super) fn new(plan: &Plan, mode: WriteMode, strict: &[&str], view: &str) -> Self {
        let mut checks = Self::default();
        let view = quote(view);
        if mode == WriteMode::Merge {
            let keys: Vec<String> = plan.keys.iter().map(|key| quote(key)).collect();
            let null: Vec<String> = keys.iter().map(|key| format!("{key} is null")).collect();
            let sql = format!("select count(*) from {view} where {}", null.join(" or "));
            checks.add(Asked::Nulls, sql);
            let keys = keys.join(", ");
            checks.add(
                Asked::Twice,
                format!(
                    "select {keys}, count(*) as {COUNT} from {view} group by {keys} having count(*) > 1 \
                     order by {COUNT} desc, {keys} limit {}",
                    KEYS_SHOWN + 1
                ),
            );
        }
        let text = |name: &str| {
            let field = plan.fields.iter().find(|field| same(&field.name, name));
            field.is_some_and(|field| field.data_type == Type::String)
        };
        let written = plan.outputs.iter().map(|output| output.name.as_str());
        let texts: Vec<String> = written
            .filter(|name| plan.partition_by.iter().any(|p| same(p, name)) && text(name))
            .map(str::to_owned)
            .collect();
        let sums = |columns: &[String], is: &str| -> String {
            let sums: Vec<String> = columns
                .iter()
                .map(|name| format!("count(case when {} {is} then 1 end)", quote(name)))
                .collect();
            format!("select {} from {view}", sums.join(", "))
        };
        if !texts.is_empty() {
            let sql = sums(&texts, "= ''");
            checks.add(Asked::Empty(texts), sql);
        }
        if !strict.is_empty() {
            let strict: Vec<String> = strict.iter().map(|&name| name.to_owned()).collect();
            let sql = sums(&strict, "is null");
            checks.add(Asked::Strict(strict), sql);
        }
        checks
    }

    fn add(&mut self, asked: Asked, text: String) {
        self.asked.push(asked);
        self.texts.push(text);
    }

    /// The queries.
    pub(super) fn texts(&self) -> &[String] {
        &self.texts
    }

    /// Refuses what they found.
    ///
    /// # Errors
    /// `invalid_argument`.
    pub(super) fn judge(&self, plan: &Plan, rows: &[Vec<Vec<Value>>]) -> Result<()> {
        let counts = |rows: &[Vec<Value>]| -> Vec<u64> {
            let first = rows.first().into_iter().flatten();
            first.map(|count| count.as_u64().unwrap_or(0)).collect()
        };
        let mut nulls = 0;
        for (asked, rows) in self.asked.iter().zip(rows) {
            match asked {
                Asked::Nulls => nulls = counts(rows).first().copied().unwrap_or(0),
                Asked::Twice => said::check_keys(&plan.keys, nulls, rows.clone())?,
                Asked::Empty(columns) => {
                    let columns = columns.iter().map(String::as_str);
                    said::check_partition_texts(columns.zip(counts(rows)))?;
                }
                Asked::Strict(columns) => {
                    let found: Vec<String> = columns
                        .iter()
                        .zip(counts(rows))
                        .filter(|(_, count)| *count > 0)
                        .map(|(name, count)| {
                            format!(
                                "{name} is not null by schema, and {count} rows have NULL there"
                            )
                        })
                        .collect();
                    if !found.is_empty() {
                        return Err(Error::new(Code::InvalidArgument, found.join("; ")).hint(
                            "Leave NULL out by sql, or not null out of schema; nothing was written.",
                        ));
                    }
                }
            }
        }
        Ok(())
    }
}

/// What writes.
pub(super) struct Action {
    merge: Option<String>,
    /// How many rows the merge will add, where it replaces none.
    added: Option<String>,
    /// Into a table of Spark's own catalogue, by the order of its columns: that keeps what else is known of it.
    insert: bool,
    mode: &'static str,
    options: Map<String, Value>,
    partition_by: Vec<String>,
    settings: Map<String, Value>,
}

impl Action {
    pub(super) fn new(
        write: &Write,
        plan: &Plan,
        existing: Option<&Existing>,
        format: &str,
        view: &str,
    ) -> Self {
        let mut action = Self {
            merge: None,
            added: None,
            insert: false,
            mode: "error",
            options: Map::new(),
            partition_by: plan.partition_by.clone(),
            settings: Map::new(),
        };
        let Some(existing) = existing else {
            return action;
        };
        let delta = format == "delta";
        match write.mode {
            WriteMode::Error => {}
            WriteMode::Append => {
                action.mode = "append";
                action.insert = !delta;
                action.partition_by.clear();
            }
            WriteMode::Overwrite => {
                action.mode = "overwrite";
                action.insert = plan.keeps_columns;
                // All rows go, whatever the session says of partitions.
                action.settings.insert(
                    "spark.sql.sources.partitionOverwriteMode".to_owned(),
                    json!("STATIC"),
                );
                if delta && !plan.keeps_columns {
                    action
                        .options
                        .insert("overwriteSchema".to_owned(), json!("true"));
                }
            }
            WriteMode::Merge => {
                action.merge = Some(merge(write, plan, &existing.fields, view));
                let is_key = |name: &str| plan.keys.iter().any(|key| same(key, name));
                if plan.outputs.iter().all(|output| is_key(&output.name)) {
                    action.added = Some(added(write, plan, view));
                }
            }
        }
        if format == "hive" {
            // Its partitions are otherwise to be named one by one.
            action.settings.insert(
                "hive.exec.dynamic.partition.mode".to_owned(),
                json!("nonstrict"),
            );
        }
        action
    }

    /// As the harness takes it.
    pub(super) fn request(self) -> Value {
        json!({
            "merge": self.merge,
            "added": self.added,
            "insert": self.insert,
            "mode": self.mode,
            "options": self.options,
            "partition_by": self.partition_by,
            "settings": self.settings,
        })
    }
}

/// `t` and `s` in a condition.
fn equal(plan: &Plan) -> String {
    let equal: Vec<String> = plan
        .keys
        .iter()
        .map(|key| format!("t.{key} = s.{key}", key = quote(key)))
        .collect();
    equal.join(" and ")
}

fn path(write: &Write) -> String {
    format!(
        "{}.{}",
        quote(&write.table.database),
        quote(&write.table.table)
    )
}

fn added(write: &Write, plan: &Plan, view: &str) -> String {
    format!(
        "select count(*) from {} as s left anti join {} as t on {}",
        quote(view),
        path(write),
        equal(plan)
    )
}

/// Rows of equal keys are replaced, the others added; columns that the source does not have stay, or are NULL.
fn merge(write: &Write, plan: &Plan, columns: &[Field], view: &str) -> String {
    let target = path(write);
    let view = quote(view);
    let equal = equal(plan);
    let has = |name: &str| plan.outputs.iter().any(|output| same(&output.name, name));
    let set: Vec<String> = plan
        .outputs
        .iter()
        .filter(|output| !plan.keys.iter().any(|key| same(key, &output.name)))
        .map(|output| format!("t.{name} = s.{name}", name = quote(&output.name)))
        .collect();
    let names: Vec<String> = columns.iter().map(|column| quote(&column.name)).collect();
    let values: Vec<String> = columns
        .iter()
        .map(|column| match has(&column.name) {
            true => format!("s.{}", quote(&column.name)),
            false => format!("cast(null as {})", column.data_type),
        })
        .collect();
    // Of rows that are keys alone there is nothing to replace.
    let update = if set.is_empty() {
        String::new()
    } else {
        format!(" when matched then update set {}", set.join(", "))
    };
    format!(
        "merge into {target} as t using {view} as s on {}{update} when not matched then insert ({}) values ({})",
        equal,
        names.join(", "),
        values.join(", ")
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::TableName;
    use crate::platform::Source;

    fn plan() -> Plan {
        let out = |name: &str| Output {
            name: name.to_owned(),
            from: Some(name.to_owned()),
            cast: None,
        };
        Plan {
            fields: vec![Field::new("a`b", Type::Long), Field::new("p", Type::String)],
            outputs: vec![out("a`b"), out("p")],
            keys: vec!["a`b".to_owned()],
            partition_by: vec!["p".to_owned()],
            keeps_columns: true,
        }
    }

    fn write(mode: WriteMode) -> Write {
        Write {
            table: TableName::new("d.b", "t`x"),
            mode,
            source: Source::Sql("select 1".to_owned()),
            schema: None,
            keys: Vec::new(),
            partition_by: Vec::new(),
        }
    }

    #[test]
    fn names_are_quoted_wherever_they_stand() {
        let text = output(&Output {
            name: "x; drop".to_owned(),
            from: Some("a`b".to_owned()),
            cast: Some(Type::Decimal(10, 2)),
        });
        assert_eq!(text, "cast(`a``b` as decimal(10,2)) as `x; drop`");
        let columns = [
            Field::new("a`b", Type::Long),
            Field::new("p", Type::String),
            Field::new("c", Type::Date),
        ];
        assert_eq!(
            merge(&write(WriteMode::Merge), &plan(), &columns, "v"),
            "merge into `d.b`.`t``x` as t using `v` as s on t.`a``b` = s.`a``b` \
             when matched then update set t.`p` = s.`p` \
             when not matched then insert (`a``b`, `p`, `c`) values (s.`a``b`, s.`p`, cast(null as date))"
        );
    }

    #[test]
    fn checks_find_null_and_doubled_keys_and_what_no_partition_holds() {
        let plan = plan();
        let checks = Checks::new(&plan, WriteMode::Merge, &["p"], "v");
        assert_eq!(checks.texts().len(), 4);
        let fine = [
            vec![vec![json!(0)]],
            vec![],
            vec![vec![json!(0)]],
            vec![vec![json!(0)]],
        ];
        checks.judge(&plan, &fine).unwrap();
        let mut wrong = fine.clone();
        wrong[0] = vec![vec![json!(2)]];
        wrong[1] = vec![vec![json!(7), json!(3)]];
        let error = checks.judge(&plan, &wrong).unwrap_err();
        for part in [
            "2 rows of the source have NULL in a key",
            "a`b = 7 (3 rows)",
        ] {
            assert!(error.message().contains(part), "{error}");
        }
        for (place, part) in [(2, "empty string in p"), (3, "p is not null by schema")] {
            let mut wrong = fine.clone();
            wrong[place] = vec![vec![json!(1)]];
            let error = checks.judge(&plan, &wrong).unwrap_err();
            assert!(error.message().contains(part), "{error}");
        }
    }

    #[test]
    fn an_overwrite_of_other_columns_says_so_and_replaces_all_partitions() {
        let existing = Existing {
            fields: Vec::new(),
            partition_by: Vec::new(),
            format: "delta".to_owned(),
        };
        let mut plan = plan();
        plan.keeps_columns = false;
        let of = |format, plan: &Plan| {
            Action::new(
                &write(WriteMode::Overwrite),
                plan,
                Some(&existing),
                format,
                "v",
            )
            .request()
        };
        let delta = of("delta", &plan);
        assert_eq!(delta["options"], json!({"overwriteSchema": "true"}));
        assert_eq!(
            delta["settings"]["spark.sql.sources.partitionOverwriteMode"],
            "STATIC"
        );
        assert_eq!(
            (&delta["insert"], &delta["partition_by"]),
            (&json!(false), &json!(["p"]))
        );
        assert_eq!(of("parquet", &plan)["insert"], false);
        plan.keeps_columns = true;
        for format in ["parquet", "delta"] {
            let request = of(format, &plan);
            assert_eq!(
                (&request["insert"], &request["options"]),
                (&json!(true), &json!({}))
            );
        }
        let new = Action::new(&write(WriteMode::Append), &plan, None, "delta", "v").request();
        assert_eq!(
            (&new["mode"], &new["insert"]),
            (&json!("error"), &json!(false))
        );
    }
}

//! Puts an entry into a client's file as text: all other bytes stay as they are. No file is touched here.
//!
//! JSON is spliced, since writing it anew would move whitespace and round numbers of a file that is not ours; the ends
//! of values come from serde_json, so no second parser of JSON lives here. A file with comments is refused: a strict
//! parser cannot tell where they belong. TOML is edited by toml_edit, which keeps comments and order.

use std::ops::Range;

use serde::de::{Deserialize, IgnoredAny};
use serde_json::Value;
use toml_edit::{DocumentMut, Item, Table};

use super::client::{Entry, Syntax};
use crate::model::{Code, Error, Result};

/// What a merge did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    Added,
    /// There was another entry of this name; its other fields are kept.
    Replaced,
    Unchanged,
}

/// The file's text with the entry in it.
///
/// # Errors
/// `configuration_invalid` with what is wrong with the text.
pub(super) fn merge(text: &str, entry: &Entry) -> Result<(String, Outcome)> {
    match entry.client.syntax() {
        Syntax::Json => merge_json(text, entry),
        Syntax::Toml => merge_toml(text, entry),
    }
}

fn refuse(what: impl Into<String>) -> Error {
    Error::new(Code::ConfigurationInvalid, what.into())
}

fn broken() -> Error {
    Error::internal("the entry did not come out as it should; nothing was written")
}

fn merge_json(text: &str, entry: &Entry) -> Result<(String, Outcome)> {
    let section = entry.client.section();
    let text = if text.trim().is_empty() { "{}\n" } else { text };
    let whole: Value = serde_json::from_str(text).map_err(|error| {
        let line = error.line();
        let comments = text.lines().any(|line| {
            let line = line.trim_start();
            line.starts_with("//") || line.starts_with("/*")
        });
        if comments {
            refuse("has comments, which would be lost")
        } else {
            refuse(format!(
                "is not JSON at line {line} (comments and trailing commas are not)"
            ))
        }
        .source_error(error)
    })?;
    if !whole.is_object() {
        return Err(refuse("is not a JSON object"));
    }
    let style = Style::of(text);
    let root = Object::at(text, text.find('{').ok_or_else(broken)?).ok_or_else(broken)?;
    let (new, outcome) = match root.last(section) {
        None => {
            let servers =
                Value::Object([(entry.name.clone(), entry.fields())].into_iter().collect());
            (root.with(text, &style, section, &servers)?, Outcome::Added)
        }
        Some(value)
            if text
                .get(value.clone())
                .is_some_and(|value| value.starts_with('{')) =>
        {
            let servers = Object::at(text, value.start).ok_or_else(broken)?;
            match servers.last(&entry.name) {
                None => (
                    servers.with(text, &style, &entry.name, &entry.fields())?,
                    Outcome::Added,
                ),
                Some(old) => {
                    let before: Value = text
                        .get(old.clone())
                        .and_then(|old| serde_json::from_str(old).ok())
                        .ok_or_else(broken)?;
                    let after = over(&before, entry.fields());
                    if after == before {
                        return Ok((text.to_owned(), Outcome::Unchanged));
                    }
                    let indent = line_indent(text, old.start);
                    let value = style.write(&after, indent)?;
                    (spliced(text, old, &value)?, Outcome::Replaced)
                }
            }
        }
        Some(_) => return Err(refuse(format!("has a {section:?} that is not an object"))),
    };
    // What we are about to write is read again: a slip here would cost the user the whole file.
    let mut expected = whole;
    if let Some(root) = expected.as_object_mut() {
        let servers = root
            .entry(section)
            .or_insert_with(|| Value::Object(serde_json::Map::new()));
        if let Some(servers) = servers.as_object_mut() {
            let before = servers.get(&entry.name).cloned().unwrap_or(Value::Null);
            servers.insert(entry.name.clone(), over(&before, entry.fields()));
        }
    }
    match serde_json::from_str::<Value>(&new) {
        Ok(written) if written == expected => Ok((new, outcome)),
        Ok(_) | Err(_) => Err(broken()),
    }
}

/// Our fields over the old entry's, whose others are kept (an `env` that the user added).
fn over(before: &Value, fields: Value) -> Value {
    match (before.clone(), fields) {
        (Value::Object(mut all), Value::Object(fields)) => {
            for (key, value) in fields {
                // Which tools the client offers is the user's choice.
                if key != "tools" || !all.contains_key("tools") {
                    all.insert(key, value);
                }
            }
            Value::Object(all)
        }
        (_, fields) => fields,
    }
}

/// How a file is indented and how its lines end.
struct Style {
    unit: String,
    newline: &'static str,
}

impl Style {
    fn of(text: &str) -> Self {
        let unit = text
            .lines()
            .filter(|line| !line.trim().is_empty())
            .map(|line| {
                line.chars()
                    .take_while(|c| matches!(c, ' ' | '\t'))
                    .collect()
            })
            .find(|indent: &String| !indent.is_empty())
            .unwrap_or_else(|| "  ".to_owned());
        Self {
            unit,
            newline: if text.contains("\r\n") { "\r\n" } else { "\n" },
        }
    }

    /// A value over several lines, whose later lines start at `indent`.
    fn write(&self, value: &Value, indent: &str) -> Result<String> {
        let mut bytes = Vec::new();
        let formatter = serde_json::ser::PrettyFormatter::with_indent(self.unit.as_bytes());
        let mut serializer = serde_json::Serializer::with_formatter(&mut bytes, formatter);
        serde::Serialize::serialize(value, &mut serializer).map_err(|_| broken())?;
        let text = String::from_utf8(bytes).map_err(|_| broken())?;
        Ok(text.replace('\n', &format!("{}{indent}", self.newline)))
    }
}

/// An object of a text that is known to be JSON.
struct Object {
    /// Of `{` and `}`.
    open: usize,
    close: usize,
    members: Vec<(String, Range<usize>)>,
    /// Of the first member's name.
    first: Option<usize>,
}

impl Object {
    fn at(text: &str, open: usize) -> Option<Self> {
        let mut members = Vec::new();
        let mut first = None;
        let mut at = skip_space(text, open + 1)?;
        while !text.get(at..)?.starts_with('}') {
            first = first.or(Some(at));
            let (name, end) = read::<String>(text, at)?;
            let colon = skip_space(text, end)?;
            let start = skip_space(text, colon + 1)?;
            let (_, end) = read::<IgnoredAny>(text, start)?;
            members.push((name, start..end));
            at = skip_space(text, end)?;
            if text.get(at..)?.starts_with(',') {
                at = skip_space(text, at + 1)?;
            }
        }
        Some(Self {
            open,
            close: at,
            members,
            first,
        })
    }

    /// The value of a member; of two with one name parsers take the last.
    fn last(&self, name: &str) -> Option<Range<usize>> {
        let found = self.members.iter().rev().find(|(key, _)| key == name);
        found.map(|(_, value)| value.clone())
    }

    /// The text with one more member at this object's end.
    fn with(&self, text: &str, style: &Style, name: &str, value: &Value) -> Result<String> {
        let newline = style.newline;
        let outer = line_indent(text, self.open);
        let deeper = format!("{outer}{}", style.unit);
        let own_line = |at: &usize| {
            text.get(self.open..*at)
                .is_some_and(|gap| gap.contains('\n'))
        };
        let indent = match self.first.filter(own_line) {
            Some(first) => line_indent(text, first),
            None => &deeper,
        };
        let name = serde_json::to_string(name).map_err(|_| broken())?;
        let member = format!("{newline}{indent}{name}: {}", style.write(value, indent)?);
        let Some((_, last)) = self.members.last() else {
            let inside = self.open + 1..self.close;
            return spliced(text, inside, &format!("{member}{newline}{outer}"));
        };
        let gap = text.get(last.end..self.close).ok_or_else(broken)?;
        let end = if gap.contains('\n') {
            gap.to_owned()
        } else {
            format!("{newline}{outer}")
        };
        spliced(text, last.end..self.close, &format!(",{member}{end}"))
    }
}

/// The value at a place, and where it ends.
fn read<'a, T: Deserialize<'a>>(text: &'a str, at: usize) -> Option<(T, usize)> {
    let mut values = serde_json::Deserializer::from_str(text.get(at..)?).into_iter::<T>();
    let value = values.next()?.ok()?;
    Some((value, at + values.byte_offset()))
}

fn skip_space(text: &str, at: usize) -> Option<usize> {
    let rest = text.get(at..)?;
    Some(text.len() - rest.trim_start_matches([' ', '\t', '\n', '\r']).len())
}

/// The white space that the line of a place starts with.
fn line_indent(text: &str, at: usize) -> &str {
    let before = text.get(..at).unwrap_or_default();
    let line = before.rfind('\n').map_or(0, |newline| newline + 1);
    let line = text.get(line..).unwrap_or_default();
    let end = line
        .find(|c| !matches!(c, ' ' | '\t'))
        .unwrap_or(line.len());
    line.get(..end).unwrap_or_default()
}

fn spliced(text: &str, range: Range<usize>, new: &str) -> Result<String> {
    match (text.get(..range.start), text.get(range.end..)) {
        (Some(before), Some(after)) => Ok(format!("{before}{new}{after}")),
        _ => Err(broken()),
    }
}

fn merge_toml(text: &str, entry: &Entry) -> Result<(String, Outcome)> {
    let section = entry.client.section();
    let mut document = text.parse::<DocumentMut>().map_err(|error| {
        let line = error.span().map_or(1, |span| {
            text.bytes()
                .take(span.start)
                .filter(|byte| *byte == b'\n')
                .count()
                + 1
        });
        refuse(format!("is not TOML at line {line}")).source_error(error)
    })?;
    let servers = document.entry(section).or_insert_with(|| {
        let mut table = Table::new();
        table.set_implicit(true);
        Item::Table(table)
    });
    let servers = servers
        .as_table_like_mut()
        .ok_or_else(|| refuse(format!("has a {section:?} that is not a table")))?;
    let there = servers.contains_key(&entry.name);
    if !there {
        servers.insert(&entry.name, Item::Table(Table::new()));
    }
    let server = servers
        .get_mut(&entry.name)
        .and_then(Item::as_table_like_mut)
        .ok_or_else(|| {
            refuse(format!(
                "has a {section}.{} that is not a table",
                entry.name
            ))
        })?;
    let args: toml_edit::Array = entry.args.iter().map(String::as_str).collect();
    let same_command = server.get("command").and_then(Item::as_str) == Some(&entry.command);
    let same_args = server
        .get("args")
        .and_then(Item::as_array)
        .is_some_and(|written| {
            written
                .iter()
                .map(toml_edit::Value::as_str)
                .eq(args.iter().map(toml_edit::Value::as_str))
        });
    if same_command && same_args {
        return Ok((text.to_owned(), Outcome::Unchanged));
    }
    server.insert("command", toml_edit::value(&entry.command));
    server.insert("args", toml_edit::value(args));
    let outcome = if there {
        Outcome::Replaced
    } else {
        Outcome::Added
    };
    Ok((document.to_string(), outcome))
}

#[cfg(test)]
mod tests;

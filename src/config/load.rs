//! Layers of settings made one: defaults < file < environment < flags. This folder alone knows figment.
//!
//! Every problem is found before anything is refused: each written value is tried alone on top of the defaults, since
//! deserialising the whole stops at the first error. Writing the list of keys a second time for that was rejected.

mod check;
mod read;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::{Path, PathBuf};

use figment::error::{Actual, Kind};
use figment::providers::Serialized;
use figment::value::{Dict, Map, Value};
use figment::{Figment, Metadata, Profile, Provider};

use self::check::{bad_target_name, contradictions, missing};
use self::read::{file_layer, variable_layers};
use super::secrets::{Private, is_hidden};
use super::{Environment, Paths, Settings, rows};
use crate::model::{Code, Error, Result};

/// Variables with this beginning are settings: `SPARKLEASE__SERVER__WAIT` is `server.wait`.
const PREFIX: &str = "SPARKLEASE__";

/// What the command line says about settings.
#[derive(Clone, Debug, Default)]
pub(crate) struct Flags {
    config: Option<PathBuf>,
    values: Vec<(&'static str, &'static str, String)>,
}

impl Flags {
    /// With the file that `--config` names.
    pub(crate) fn new(config: Option<PathBuf>) -> Self {
        Self {
            config,
            values: Vec::new(),
        }
    }

    /// The file that `--config` names.
    pub(crate) fn config(&self) -> Option<&Path> {
        self.config.as_deref()
    }

    /// One flag and the setting that it stands for: `set("--log", "server.log", "debug")`.
    pub(crate) fn set(&mut self, flag: &'static str, key: &'static str, value: impl Into<String>) {
        self.values.push((flag, key, value.into()));
    }
}

/// The effective settings.
#[derive(Clone, Debug)]
pub(crate) struct Loaded {
    /// The settings.
    pub settings: Settings,
    /// Our folders and the file.
    pub paths: Paths,
    /// The variables that hold secrets.
    pub private: Private,
    origins: BTreeMap<String, String>,
}

impl Loaded {
    /// Where a setting's value came from: `default`, the file's path, the variable or the flag.
    pub(crate) fn origin(&self, key: &str) -> &str {
        self.origins.get(key).map_or("default", String::as_str)
    }
}

/// Loads the settings.
///
/// # Errors
/// `configuration_invalid`, with every problem and its place.
pub(crate) fn load(environment: &Environment, flags: &Flags) -> Result<Loaded> {
    let paths = Paths::of(environment, flags.config())?;
    let mut problems = Vec::new();
    let mut layers = Vec::new();
    layers.extend(file_layer(environment, &paths)?);
    layers.extend(variable_layers(environment, &mut problems));
    layers.extend(flags.values.iter().map(|(flag, key, value)| {
        let path: Vec<_> = key.split('.').map(str::to_owned).collect();
        Layer::of_one(Origin::Flag(flag), &path, Value::from(value.clone()))
    }));
    for layer in &layers {
        problems.extend(layer.problems());
    }
    let merged = layers.iter().fold(
        Figment::from(Serialized::defaults(Settings::default())),
        Figment::merge,
    );
    if problems.is_empty() {
        problems.extend(missing(&layers));
    }
    if !problems.is_empty() {
        return Err(refuse(problems));
    }
    let settings = merged.extract::<Settings>().map_err(|error| {
        refuse(vec![Problem {
            place: "all layers together".to_owned(),
            text: format!("`{}` {}", error.path.join("."), error.kind),
            key: error.path,
        }])
    })?;
    let problems = contradictions(&settings, &layers);
    if !problems.is_empty() {
        return Err(refuse(problems));
    }
    let mut loaded = Loaded {
        settings,
        paths,
        private: Private::of(environment),
        origins: BTreeMap::new(),
    };
    loaded.origins = rows(&loaded)
        .into_iter()
        .filter_map(|row| {
            let metadata = merged.find_metadata(&row.key)?;
            let ours = layers
                .iter()
                .any(|layer| layer.origin.to_string() == metadata.name);
            ours.then(|| (row.key, metadata.name.to_string()))
        })
        .collect();
    Ok(loaded)
}

/// Where a layer was written.
#[derive(Clone, Debug, PartialEq)]
enum Origin {
    File(PathBuf),
    Variable(String),
    Flag(&'static str),
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => write!(f, "{}", path.display()),
            Self::Variable(name) => write!(f, "environment variable {name}"),
            Self::Flag(name) => write!(f, "flag {name}"),
        }
    }
}

/// One place's settings. A variable and a flag are a layer each, so that each value's origin is exact.
#[derive(Clone, Debug)]
struct Layer {
    origin: Origin,
    values: Dict,
    /// The file's text, for the line in an error.
    text: String,
}

impl Provider for &Layer {
    fn metadata(&self) -> Metadata {
        Metadata::named(self.origin.to_string())
    }

    fn data(&self) -> Result<Map<Profile, Dict>, figment::Error> {
        Ok(Map::from([(Profile::Default, self.values.clone())]))
    }
}

/// What is wrong, and where.
#[derive(Debug)]
struct Problem {
    place: String,
    key: Vec<String>,
    text: String,
}

impl Layer {
    fn of_one(origin: Origin, path: &[String], value: Value) -> Self {
        let mut values = Dict::new();
        insert(&mut values, path, value);
        Self {
            origin,
            values,
            text: String::new(),
        }
    }

    /// The place of a key in this layer.
    fn place(&self, key: &[String]) -> String {
        match (line_of(&self.text, key), &self.origin) {
            (Some(line), origin) => format!("{origin}, line {line}"),
            // The key is spelled as the variable's name there.
            (None, Origin::Variable(_)) => "environment".to_owned(),
            (None, origin) => origin.to_string(),
        }
    }

    fn problem(&self, key: &[String], text: String) -> Problem {
        Problem {
            place: self.place(key),
            key: key.to_vec(),
            text,
        }
    }

    /// A key as it is written here: dotted, or a variable's name.
    fn spelled(&self, key: &[String]) -> String {
        match self.origin {
            Origin::Variable(_) => format!("`{PREFIX}{}`", key.join("__").to_uppercase()),
            Origin::File(_) | Origin::Flag(_) => format!("`{}`", key.join(".")),
        }
    }

    /// Everything that is wrong with this layer's values, each looked at alone.
    fn problems(&self) -> Vec<Problem> {
        let mut found = Vec::new();
        let mut unsupported = BTreeSet::new();
        for (path, value) in leaves(&self.values) {
            if let [section, name, ..] = path.as_slice()
                && section == "targets"
                && let Some(text) = bad_target_name(name)
            {
                found.push(self.problem(&[section.clone(), name.clone()], text));
                continue;
            }
            // serde takes a list for a table, field by field; a text it refuses.
            let tried = match &value {
                Value::Array(..) if self.is_table(&path) => self.tried(&path, Value::from("")),
                _ => self.tried(&path, value.clone()),
            };
            let Err(error) = tried else { continue };
            let before = found.len();
            let error = *error;
            let key = if error.path.is_empty() {
                &path
            } else {
                &error.path
            };
            match error.kind {
                // Another value, perhaps of another layer, may bring it: looked at when all are merged.
                Kind::MissingField(_) => {}
                Kind::UnknownField(name, expected) => {
                    let (key, text) = self.unknown(&error.path, &path, &name, expected);
                    found.push(self.problem(&key, text));
                }
                Kind::UnknownVariant(word, expected) => {
                    let words: Vec<_> = expected.iter().map(|word| format!("{word:?}")).collect();
                    let mut text = format!(
                        "{} is {word:?}; it takes {}",
                        self.spelled(key),
                        words.join(" or ")
                    );
                    if let [section, target, last] = path.as_slice()
                        && section == "targets"
                        && last == "platform"
                    {
                        text += ", the platforms of this version";
                        unsupported.insert(target.clone());
                    }
                    found.push(self.problem(key, text));
                }
                Kind::InvalidType(actual, expected) => {
                    let actual = match (&value, actual) {
                        (Value::Array(..), _) | (_, Actual::Seq) => "a list".to_owned(),
                        (_, Actual::Map) => "a table".to_owned(),
                        (_, Actual::Signed(number)) => number.to_string(),
                        (_, other) => other.to_string(),
                    };
                    let expected = match expected.as_str() {
                        "a string" | "path string" => "a text in quotes",
                        "a map" => "a table",
                        table if table.starts_with("struct ") => "a table",
                        other => other,
                    };
                    let text = format!("{} is {actual}; it takes {expected}", self.spelled(key));
                    found.push(self.problem(key, text));
                }
                other => found.push(self.problem(key, format!("{} {other}", self.spelled(key)))),
            }
            for problem in found.iter_mut().skip(before) {
                hide(problem, &path, &value);
            }
        }
        // A platform that we do not have brings its own keys: to call those unknown as well says nothing.
        found.retain(|problem| match problem.key.as_slice() {
            [section, target, key, ..] if section == "targets" => {
                key == "platform" || !unsupported.contains(target)
            }
            _ => true,
        });
        let mut seen = BTreeSet::new();
        found.retain(|problem| seen.insert(problem.text.clone()));
        found.sort_by_key(|problem| line_of(&self.text, &problem.key));
        found
    }

    /// One value alone on top of the defaults.
    fn tried(&self, path: &[String], value: Value) -> Result<Settings, Box<figment::Error>> {
        Figment::from(Serialized::defaults(Settings::default()))
            .merge(&Self::of_one(self.origin.clone(), path, value))
            .extract()
            .map_err(Box::new)
    }

    fn is_table(&self, path: &[String]) -> bool {
        self.tried(path, Value::from("")).is_err_and(
            |error| matches!(error.kind, Kind::InvalidType(_, expected) if expected.starts_with("struct ")),
        )
    }

    /// An unknown key's full name, and the words for it.
    fn unknown(
        &self,
        parent: &[String],
        path: &[String],
        name: &str,
        expected: &[&str],
    ) -> (Vec<String>, String) {
        let depth = path
            .get(parent.len())
            .filter(|key| *key == name)
            .map(|_| parent.len())
            .or_else(|| path.iter().position(|key| key == name))
            .unwrap_or(0);
        let parent: Vec<String> = path.iter().take(depth).cloned().collect();
        let full = |last: &str| [parent.as_slice(), &[last.to_owned()]].concat();
        let key = full(name);
        let advice = match nearest(name, expected) {
            // Who wrote a variable wrote all of the path; a file's table has a line of its own.
            Some(near) if matches!(self.origin, Origin::Variable(_)) => {
                let rest: Vec<_> = path.iter().skip(depth + 1).cloned().collect();
                let all = [full(near).as_slice(), &rest].concat();
                format!("did you mean {}?", self.spelled(&all))
            }
            Some(near) => format!("did you mean {}?", self.spelled(&full(near))),
            None => {
                let all: Vec<_> = expected
                    .iter()
                    .map(|near| self.spelled(&full(near)))
                    .collect();
                format!("the keys here are: {}", all.join(", "))
            }
        };
        let text = format!("unknown key {}; {advice}", self.spelled(&key));
        (key, text)
    }
}

/// Takes a value out of the words about it where it may be a secret.
fn hide(problem: &mut Problem, path: &[String], value: &Value) {
    let shown = match value {
        Value::String(_, text) => text.clone(),
        Value::Num(..) => value
            .to_i128()
            .map(|number| number.to_string())
            .or_else(|| value.to_u128().map(|number| number.to_string()))
            .or_else(|| value.to_f64().map(|number| number.to_string()))
            .unwrap_or_default(),
        _ => return,
    };
    if shown.is_empty() || !is_hidden(path, &shown) {
        return;
    }
    for form in [format!("{shown:?}"), shown] {
        problem.text = problem.text.replace(&form, "a value that is not shown");
    }
}

/// The name that was most likely meant.
fn nearest<'a>(name: &str, names: &[&'a str]) -> Option<&'a str> {
    names
        .iter()
        .map(|near| (strsim::jaro_winkler(name, near), *near))
        .filter(|(likeness, _)| *likeness > 0.75)
        .max_by(|(a, _), (b, _)| a.total_cmp(b))
        .map(|(_, near)| near)
}

fn refuse(problems: Vec<Problem>) -> Error {
    let lines: Vec<_> = problems
        .into_iter()
        .map(|problem| format!("{}: {}", problem.place, problem.text))
        .collect();
    let message = match lines.as_slice() {
        [one] => one.clone(),
        many => format!(
            "the configuration has {} problems:\n  {}",
            many.len(),
            many.join("\n  ")
        ),
    };
    Error::new(Code::ConfigurationInvalid, message).hint(
        "Correct this, then run `sparklease config show`; `sparklease config schema` lists every key.",
    )
}

fn insert(table: &mut Dict, path: &[String], value: Value) {
    match path {
        [] => {}
        [last] => {
            table.insert(last.clone(), value);
        }
        [first, rest @ ..] => {
            let inner = table
                .entry(first.clone())
                .or_insert_with(|| Value::from(Dict::new()));
            if let Value::Dict(_, inner) = inner {
                insert(inner, rest, value);
            }
        }
    }
}

/// Every value that is no table, and every empty table, with its path.
fn leaves(table: &Dict) -> Vec<(Vec<String>, Value)> {
    let mut found = Vec::new();
    for (key, value) in table {
        match value {
            Value::Dict(_, inner) if !inner.is_empty() => {
                for (mut path, leaf) in leaves(inner) {
                    path.insert(0, key.clone());
                    found.push((path, leaf));
                }
            }
            leaf => found.push((vec![key.clone()], leaf.clone())),
        }
    }
    found
}

/// The line, from 1, on which a key is written.
fn line_of(text: &str, key: &[String]) -> Option<usize> {
    let document = toml::de::DeTable::parse(text).ok()?;
    let mut table = document.get_ref();
    let mut start = None;
    for part in key {
        let (name, value) = table
            .iter()
            .find(|(name, _)| name.get_ref().as_ref() == part.as_str())?;
        start = Some(name.span().start);
        match value.get_ref() {
            toml::de::DeValue::Table(inner) => table = inner,
            _ => break,
        }
    }
    start.map(|start| newlines(text.as_bytes(), start) + 1)
}

fn newlines(text: &[u8], end: usize) -> usize {
    text.iter().take(end).filter(|byte| **byte == b'\n').count()
}

#[cfg(test)]
mod tests;

//! Layers of settings made one: defaults < file < environment < flags. The only place that knows figment.
//!
//! Every problem is found before anything is refused: each written value is tried alone on top of the defaults, since
//! deserialising the whole stops at the first error. Writing the list of keys a second time for that was rejected.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::io::Read;
use std::path::{Path, PathBuf};

use figment::error::{Actual, Kind};
use figment::providers::Serialized;
use figment::value::{Dict, Map, Value};
use figment::{Figment, Metadata, Profile, Provider};

use super::settings::{LOCAL, PATHS};
use super::{Environment, Paths, Settings, rows};
use crate::model::{Code, Error, Result, TargetName};

/// Variables with this beginning are settings: `SPARKLEASE__SERVER__WAIT` is `server.wait`.
const PREFIX: &str = "SPARKLEASE__";

/// A second name for `engine.wheels`, which the engine's installer has had from the start.
const WHEELS: &str = "SPARKLEASE_ENGINE_WHEELS";

/// The largest file that is read: settings are small, and a device never ends.
const MAX_FILE: u64 = 1 << 20;

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
            place: String::new(),
            key: error.path.clone(),
            text: error.kind.to_string(),
        }])
    })?;
    let problems = contradictions(&settings, &layers);
    if !problems.is_empty() {
        return Err(refuse(problems));
    }
    let mut loaded = Loaded {
        settings,
        paths,
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
            let alone = Self::of_one(self.origin.clone(), &path, value);
            let tried = Figment::from(Serialized::defaults(Settings::default()))
                .merge(&alone)
                .extract::<Settings>();
            let Err(error) = tried else { continue };
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
                        text += ", the only platform of this version";
                        unsupported.insert(target.clone());
                    }
                    found.push(self.problem(key, text));
                }
                Kind::InvalidType(actual, expected) => {
                    let actual = match actual {
                        Actual::Seq => "a list".to_owned(),
                        Actual::Map => "a table".to_owned(),
                        other => other.to_string(),
                    };
                    let expected = expected.replace("struct ", "the table of ");
                    let text = format!("{} is {actual}; it takes {expected}", self.spelled(key));
                    found.push(self.problem(key, text));
                }
                other => found.push(self.problem(key, format!("{} {other}", self.spelled(key)))),
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

/// The file as a layer; none where nobody named it and it is not there.
fn file_layer(environment: &Environment, paths: &Paths) -> Result<Option<Layer>> {
    let path = &paths.config;
    let shown = path.display();
    let refuse = |what: String| {
        Error::new(
            Code::ConfigurationInvalid,
            format!("the configuration {shown} {what}"),
        )
    };
    let name_another = "Name a TOML file: `sparklease --config FILE …`, or set SPARKLEASE_CONFIG; `sparklease config path` prints the one that is read.";
    let mut bytes = Vec::new();
    let read = std::fs::File::open(path).and_then(|file| {
        if file.metadata()?.is_dir() {
            return Err(std::io::ErrorKind::IsADirectory.into());
        }
        file.take(MAX_FILE + 1).read_to_end(&mut bytes)
    });
    match read {
        Ok(_) => {}
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            return match paths.config_named_by {
                None => Ok(None),
                Some(by) => Err(refuse(format!("is not there, and {by} names it"))
                    .hint(name_another)
                    .source_error(error)),
            };
        }
        Err(error) if error.kind() == std::io::ErrorKind::IsADirectory => {
            return Err(refuse("is a folder, not a file".to_owned()).hint(name_another));
        }
        Err(error) => {
            return Err(refuse(format!("cannot be read: {error}"))
                .hint(format!(
                    "Make it readable (`ls -l {shown}`), or name another: `sparklease --config FILE …`."
                ))
                .source_error(error));
        }
    }
    if bytes.len() as u64 > MAX_FILE {
        return Err(refuse("is larger than 1 MiB".to_owned()).hint(name_another));
    }
    let text = String::from_utf8(bytes).map_err(|error| {
        let start = error.utf8_error().valid_up_to();
        let line = newlines(error.as_bytes(), start) + 1;
        refuse(format!("is not UTF-8 at line {line}")).hint("Save it as UTF-8 in your editor.")
    })?;
    let mut values = toml::from_str::<Dict>(&text).map_err(|error| {
        let place = error.span().map_or(String::new(), |span| {
            format!(" at line {}", newlines(text.as_bytes(), span.start) + 1)
        });
        refuse(format!(
            "is not TOML{place}: {}",
            error.message().trim_end()
        ))
        .hint("Correct it; `sparklease config schema` lists every key.")
    })?;
    let folder = path.parent().unwrap_or(Path::new(""));
    resolve(&mut values, folder, environment.home());
    Ok(Some(Layer {
        origin: Origin::File(path.clone()),
        values,
        text,
    }))
}

/// One layer for each variable that is a setting.
fn variable_layers(environment: &Environment, problems: &mut Vec<Problem>) -> Vec<Layer> {
    let mut layers = Vec::new();
    let wheels = vec!["engine".to_owned(), "wheels".to_owned()];
    // The longer name is the more exact one, so it comes later and wins.
    let named = environment
        .vars()
        .filter(|(name, value)| *name == WHEELS && !value.is_empty())
        .map(|(name, value)| (name, value, wheels.clone()));
    let prefixed = environment.vars().filter_map(|(name, value)| {
        let key = name.to_str()?.strip_prefix(PREFIX)?;
        let path = key.split("__").map(str::to_lowercase).collect();
        Some((name, value, path))
    });
    for (name, value, path) in named.chain(prefixed) {
        let name = name.to_string_lossy().into_owned();
        let origin = Origin::Variable(name.clone());
        let Some(text) = value.to_str() else {
            problems.push(Problem {
                place: "environment".to_owned(),
                key: path,
                text: format!("`{name}` is not UTF-8"),
            });
            continue;
        };
        let value = if text.trim_start().starts_with('[') {
            match toml::from_str::<Dict>(&format!("v = {text}")) {
                Ok(mut table) => table.remove("v").unwrap_or_else(|| Value::from(text)),
                Err(_) => Value::from(text),
            }
        } else {
            Value::from(text)
        };
        let mut layer = Layer::of_one(origin, &path, value);
        resolve(
            &mut layer.values,
            environment.working_folder(),
            environment.home(),
        );
        layers.push(layer);
    }
    layers
}

/// Makes the paths of a layer absolute. `~/` is the home; a bare name stays, since `python` may be a command.
fn resolve(values: &mut Dict, folder: &Path, home: Option<&Path>) {
    let absolute = |text: &str| {
        let path = match (text.strip_prefix("~/"), home) {
            (Some(rest), Some(home)) => home.join(rest),
            _ => folder.join(text),
        };
        path.to_string_lossy().into_owned()
    };
    for path in PATHS {
        let Some((last, parents)) = path.split_last() else {
            continue;
        };
        let mut table = Some(&mut *values);
        for parent in parents {
            table = match table.and_then(|table| table.get_mut(*parent)) {
                Some(Value::Dict(_, inner)) => Some(inner),
                _ => None,
            };
        }
        match table.and_then(|table| table.get_mut(*last)) {
            Some(Value::String(_, text)) if *last == "allowed" => {
                let parts: Vec<_> = std::env::split_paths(text.as_str())
                    .map(|part| absolute(&part.to_string_lossy()))
                    .collect();
                *text = std::env::join_paths(parts)
                    .map_or_else(|_| text.clone(), |all| all.to_string_lossy().into_owned());
            }
            Some(Value::String(_, text)) if *last != "python" || text.contains('/') => {
                *text = absolute(text);
            }
            Some(Value::Array(_, list)) => {
                for item in list {
                    if let Value::String(_, text) = item {
                        *text = absolute(text);
                    }
                }
            }
            _ => {}
        }
    }
}

/// Targets that say nothing of their platform in any layer.
fn missing(layers: &[Layer]) -> Vec<Problem> {
    let mut first: BTreeMap<String, &Layer> = BTreeMap::new();
    let mut platforms = BTreeSet::from([LOCAL.to_owned()]);
    for layer in layers {
        for (path, _) in leaves(&layer.values) {
            if let [section, target, rest @ ..] = path.as_slice()
                && section == "targets"
            {
                first.entry(target.clone()).or_insert(layer);
                if rest.first().is_some_and(|key| key == "platform") {
                    platforms.insert(target.clone());
                }
            }
        }
    }
    first
        .into_iter()
        .filter(|(target, _)| !platforms.contains(target))
        .map(|(target, layer)| {
            let key = ["targets".to_owned(), target];
            let text = format!(
                "{} has no platform; add platform = \"local\"",
                layer.spelled(&key)
            );
            layer.problem(&key, text)
        })
        .collect()
}

/// Values that are right alone and wrong together.
fn contradictions(settings: &Settings, layers: &[Layer]) -> Vec<Problem> {
    let mut found = Vec::new();
    let mut say = |key: &[&str], text: String| {
        let key: Vec<String> = key.iter().map(|part| (*part).to_owned()).collect();
        let layer = layers.iter().rev().find(|layer| {
            leaves(&layer.values)
                .iter()
                .any(|(path, _)| path.starts_with(&key))
        });
        found.push(Problem {
            place: layer.map_or("default".to_owned(), |layer| layer.place(&key)),
            key,
            text,
        });
    };
    if !settings.targets.contains_key(&settings.default_target) {
        let names: Vec<_> = settings.targets.keys().map(TargetName::as_str).collect();
        say(
            &["default_target"],
            format!(
                "`default_target` is {:?}, which is no target; the targets are: {}",
                settings.default_target.as_str(),
                names.join(", ")
            ),
        );
    }
    if let Some(why) = bad_log(&settings.server.log) {
        say(
            &["server", "log"],
            format!("`server.log` is {:?}; {why}", settings.server.log),
        );
    }
    for (name, target) in &settings.targets {
        let limits = &target.limits;
        for (key, value) in [("idle", limits.idle), ("statement", limits.statement)] {
            if value > limits.life {
                say(
                    &["targets", name.as_str(), "limits", key],
                    format!(
                        "`targets.{name}.limits.{key}` is {}, longer than the session's life of {}",
                        humantime::format_duration(value),
                        humantime::format_duration(limits.life)
                    ),
                );
            }
        }
    }
    found
}

/// Why a filter of the log is refused. A bare word that is no level would silence everything.
fn bad_log(text: &str) -> Option<String> {
    const LEVELS: [&str; 6] = ["off", "error", "warn", "info", "debug", "trace"];
    let bare = text
        .split(',')
        .map(str::trim)
        .find(|part| !part.contains('=') && !LEVELS.contains(&part.to_lowercase().as_str()));
    if let Some(word) = bare {
        return Some(format!(
            "{word:?} is no level; the levels are: {}",
            LEVELS.join(", ")
        ));
    }
    tracing_subscriber::EnvFilter::builder()
        .parse(text)
        .err()
        .map(|error| error.to_string())
}

/// Why a target's name is refused: it is said in tool calls, in variables and on command lines.
fn bad_target_name(name: &str) -> Option<String> {
    let allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '_' | '-');
    let good = name.starts_with(|c: char| c.is_ascii_lowercase())
        && name.len() <= 64
        && name.chars().all(allowed)
        && !name.contains("__");
    (!good).then(|| {
        format!(
            "{name:?} is no name for a target; it takes a small letter, then small letters, digits, `-` and single `_`, 64 at most"
        )
    })
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

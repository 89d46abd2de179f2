//! The file and the variables as layers. What their values mean is not known here, but which are paths is.

use std::io::Read;
use std::path::Path;

use figment::value::{Dict, Value};

use super::{Layer, Origin, PREFIX, Problem, newlines};
use crate::config::settings::{PATHS, TARGET_PATHS};
use crate::config::{Environment, Paths};
use crate::model::{Code, Error, Result};

/// A second name for `engine.wheels`, which the engine's installer has had from the start.
const WHEELS: &str = "SPARKLEASE_ENGINE_WHEELS";

/// The largest file that is read: settings are small, and a device never ends.
const MAX_FILE: u64 = 1 << 20;

/// The file as a layer; none where nobody named it and it is not there.
pub(super) fn file_layer(environment: &Environment, paths: &Paths) -> Result<Option<Layer>> {
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
pub(super) fn variable_layers(
    environment: &Environment,
    problems: &mut Vec<Problem>,
) -> Vec<Layer> {
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
    if let Some(Value::Dict(_, targets)) = values.get_mut("targets") {
        for target in targets.values_mut() {
            let Value::Dict(_, target) = target else {
                continue;
            };
            for key in TARGET_PATHS {
                if let Some(Value::String(_, text)) = target.get_mut(key) {
                    *text = absolute(text);
                }
            }
        }
    }
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

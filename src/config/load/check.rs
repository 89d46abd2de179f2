//! What a look at one value cannot find: what is missing, what contradicts, which texts are no names or filters.

use std::collections::{BTreeMap, BTreeSet};

use super::{Layer, Problem, leaves};
use crate::config::Settings;
use crate::config::settings::LOCAL;
use crate::model::TargetName;

/// Targets that say nothing of their platform in any layer.
pub(super) fn missing(layers: &[Layer]) -> Vec<Problem> {
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
pub(super) fn contradictions(settings: &Settings, layers: &[Layer]) -> Vec<Problem> {
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
pub(super) fn bad_target_name(name: &str) -> Option<String> {
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

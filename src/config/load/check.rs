//! What a look at one value cannot find: what is missing, what contradicts, which texts are no names or filters.

use std::collections::{BTreeMap, BTreeSet};

use super::{Layer, Problem, leaves};
use crate::config::settings::{Auth, LOCAL, Target};
use crate::config::{Platform, Settings};
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
                "{} has no platform; add platform = \"local\" or platform = \"livy\"",
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
        for (key, text) in of_platform(name, target) {
            let mut path = vec!["targets", name.as_str()];
            path.extend(key);
            say(&path, text);
        }
        let limits = &target.limits;
        if target.platform == Platform::Local && limits.warm > 0 {
            say(
                &["targets", name.as_str(), "limits", "warm"],
                format!(
                    "`targets.{name}.limits.warm` is for targets where sessions cost money; take it out: `engine.spare` keeps a worker ready on this machine"
                ),
            );
        } else if limits.warm > limits.sessions {
            say(
                &["targets", name.as_str(), "limits", "warm"],
                format!(
                    "`targets.{name}.limits.warm` is {}, more than the {} sessions that `targets.{name}.limits.sessions` allows",
                    limits.warm, limits.sessions
                ),
            );
        }
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

/// What a target's platform needs and has not, or has and does not know: the key, and the words.
fn of_platform(name: &TargetName, target: &Target) -> Vec<(Option<&'static str>, String)> {
    let mut found = Vec::new();
    let of = |key: &str| format!("`targets.{name}.{key}`");
    if target.platform == Platform::Local {
        for key in target.remote_keys() {
            let text = format!("{} is for platform = \"livy\"; take it out", of(key));
            found.push((Some(key), text));
        }
        return found;
    }
    if target.access.is_none() {
        found.push((
            None,
            format!(
                "`targets.{name}` has no access; add access = \"read-only\" or access = \"read-write\""
            ),
        ));
    }
    match &target.url {
        None => found.push((
            None,
            format!("`targets.{name}` has no url; add url = \"https://HOST:8998\""),
        )),
        Some(url) => {
            found.extend(bad_url(url).map(|why| (Some("url"), format!("{} {why}", of("url")))))
        }
    }
    let auth = target.auth.unwrap_or_default();
    let word = match auth {
        Auth::None => "none",
        Auth::Basic => "basic",
        Auth::Bearer => "bearer",
    };
    let secrets = usize::from(target.secret.is_some()) + usize::from(target.secret_file.is_some());
    match (auth, secrets) {
        (Auth::None, 0) | (Auth::Basic | Auth::Bearer, 1) => {}
        (Auth::None, _) => found.push((
            None,
            format!("`targets.{name}` has a secret and auth = \"none\"; add auth = \"basic\" or \"bearer\""),
        )),
        (_, 0) => found.push((
            Some("auth"),
            format!(
                "{} is {word:?} and there is no secret; add secret_file, or set SPARKLEASE__TARGETS__{}__SECRET",
                of("auth"),
                name.as_str().to_uppercase()
            ),
        )),
        (_, _) => found.push((
            Some("secret_file"),
            format!("{} and `secret` are both set; take one out", of("secret_file")),
        )),
    }
    match (auth, &target.user) {
        (Auth::Basic, None) => found.push((
            Some("auth"),
            format!(
                "{} is \"basic\" and there is no user; add user = \"NAME\"",
                of("auth")
            ),
        )),
        (Auth::None | Auth::Bearer, Some(_)) => found.push((
            Some("user"),
            format!("{} is for auth = \"basic\"; take it out", of("user")),
        )),
        _ => {}
    }
    found
}

/// Why an address is refused.
fn bad_url(url: &str) -> Option<String> {
    let url = url.trim();
    let rest = url
        .strip_prefix("https://")
        .or_else(|| url.strip_prefix("http://"));
    let Some(rest) = rest else {
        return Some("does not start with https:// or http://".to_owned());
    };
    let host = rest.split(['/', '?', '#']).next().unwrap_or_default();
    if host.contains('@') {
        // Its text is not repeated: it may hold a password.
        return Some("holds a user; write it as `user`, and the password as `secret`".to_owned());
    }
    if host.is_empty() || host.starts_with(':') {
        return Some("names no host".to_owned());
    }
    if rest.contains(['?', '#']) {
        return Some("has a part behind `?` or `#`, which no base of addresses has".to_owned());
    }
    (rest.trim_end_matches('/').ends_with("/sessions"))
        .then(|| "ends with /sessions; leave that out".to_owned())
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

//! Which variables of the environment hold secrets. Their values go to the registry that the exit reads.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};

use secrecy::SecretString;

use super::Environment;
use crate::model::SecretRegistry;

/// A value counts from this length on: a password `postgres` must not blank a column.
const MIN_CHARS: usize = 16;

/// A value counts from this entropy on, in bits for a character of its own distribution. 16 random hex digits have
/// about 3.3 and random base64 more; `passwordpassword` has 2.7, sixteen equal characters 0.
const MIN_BITS: f64 = 3.0;

/// Words of a name that say that the value is secret.
const WORDS: [&str; 17] = [
    "token",
    "tokens",
    "secret",
    "secrets",
    "password",
    "passwd",
    "passphrase",
    "pwd",
    "pass",
    "credential",
    "credentials",
    "apikey",
    "pat",
    "sas",
    "auth",
    "authorization",
    "bearer",
];

/// Words that say so only as a name's last word: `API_KEY`, not `KEY_COUNT`.
const LAST_WORDS: [&str; 2] = ["key", "connectionstring"];

/// Registers every value that is secret by its variable's name and by its look.
///
/// Of a connection string (`AccountName=…;AccountKey=…`) the secret parts are registered too, since they show alone.
pub(crate) fn register_environment<'a>(
    registry: &SecretRegistry,
    vars: impl IntoIterator<Item = (&'a OsStr, &'a OsStr)>,
) {
    for (name, value) in vars {
        let (name, value) = (name.to_string_lossy(), value.to_string_lossy());
        for (key, part) in connection_parts(&value) {
            if says_secret(key) && looks_secret(part) {
                registry.register("env", part);
            }
        }
        if says_secret(&name) && looks_secret(&value) {
            registry.register("env", &value);
        }
    }
}

/// The variables that hold secrets. A child process that outlives us gets none of them in its environment, which other
/// processes of the user can read as long as it lives.
#[derive(Clone, Debug, Default)]
pub(crate) struct Private {
    /// Their names.
    pub names: Vec<OsString>,
    /// Those of them that are settings: what a child needs that reads the same configuration.
    pub settings: BTreeMap<String, SecretString>,
}

impl Private {
    /// Those of an environment.
    pub(super) fn of(environment: &Environment) -> Self {
        let mut found = Self::default();
        for (name, value) in environment.vars() {
            let setting = name
                .to_str()
                .zip(value.to_str())
                .filter(|(name, _)| is_secret_setting(name));
            if let Some((name, value)) = setting {
                let value = SecretString::from(value.to_owned());
                found.settings.insert(name.to_owned(), value);
            } else {
                let registry = SecretRegistry::default();
                register_environment(&registry, [(name, value)]);
                if registry.is_empty() {
                    continue;
                }
            }
            found.names.push(name.to_owned());
        }
        found
    }
}

/// `SPARKLEASE__TARGETS__NAME__SECRET`, and the values of headers.
fn is_secret_setting(variable: &str) -> bool {
    let small = variable.to_lowercase();
    let parts: Vec<&str> = small.split("__").collect();
    matches!(
        parts.as_slice(),
        ["sparklease", "targets", _, "secret"] | ["sparklease", "targets", _, "headers", ..]
    )
}

/// Whether the value of a key is never repeated, also where it is wrong: `secret`, a header's value, and what looks like
/// a token under a key that may have been taken for its place (`auth`).
pub(super) fn is_hidden(key: &[String], value: &str) -> bool {
    match key {
        [section, _, last, ..]
            if section == "targets" && (last == "secret" || last == "headers") =>
        {
            true
        }
        [.., last] => {
            says_secret(last) && looks_secret(value) && value.contains(|c: char| c.is_ascii_digit())
        }
        [] => false,
    }
}

/// Whether a value is secret by its name or by its look.
pub(crate) fn is_secret(name: &str, value: &str) -> bool {
    says_secret(name) || looks_secret(value)
}

/// Whether a name says that its value is secret: `MY_API_KEY`, `clientSecret`, `PGPASSWORD`.
fn says_secret(name: &str) -> bool {
    let words = words(name);
    let joined = words.concat();
    words.iter().any(|word| WORDS.contains(&word.as_str()))
        || LAST_WORDS.iter().any(|word| joined.ends_with(word))
        || ["password", "secret", "token"]
            .iter()
            .any(|word| joined.ends_with(word))
}

/// The words of a name, small: at separators, and where a capital follows a small letter.
fn words(name: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut word = String::new();
    let mut before_small = false;
    for c in name.chars() {
        let starts = c.is_uppercase() && before_small;
        if !c.is_alphanumeric() || starts {
            words.push(std::mem::take(&mut word));
        }
        if c.is_alphanumeric() {
            word.extend(c.to_lowercase());
        }
        before_small = c.is_lowercase();
    }
    words.push(word);
    words.retain(|word| !word.is_empty());
    words
}

/// Whether a value looks like a secret and not like a path, an address or words.
fn looks_secret(value: &str) -> bool {
    let value = value.trim();
    value.chars().count() >= MIN_CHARS
        && bits(value) >= MIN_BITS
        && !value.contains("://")
        && !is_path(value)
}

/// A path starts like one and its first folder is a word; base64 may start with a slash, but hardly goes on so.
fn is_path(value: &str) -> bool {
    if ["./", "../", "~/", "~\\", ".\\", "\\\\"]
        .iter()
        .any(|start| value.starts_with(start))
    {
        return true;
    }
    let mut chars = value.chars();
    if let (Some(drive), Some(':'), Some('\\' | '/')) = (chars.next(), chars.next(), chars.next())
        && drive.is_ascii_alphabetic()
    {
        return true;
    }
    let Some(rest) = value.strip_prefix('/') else {
        return false;
    };
    let first = rest.split('/').next().unwrap_or_default();
    let word = |text: &str| {
        text.len() >= 2
            && text
                .chars()
                .skip(1)
                .all(|c| c.is_ascii_lowercase() || matches!(c, '-' | '_' | '.'))
    };
    word(first)
}

/// The entropy of a value's own distribution of characters, in bits for a character.
fn bits(value: &str) -> f64 {
    let mut counts = std::collections::BTreeMap::new();
    for c in value.chars() {
        *counts.entry(c).or_insert(0_u32) += 1;
    }
    let all: f64 = counts.values().copied().map(f64::from).sum();
    counts
        .values()
        .map(|count| f64::from(*count) / all)
        .map(|share| -share * share.log2())
        .sum()
}

/// `a=b;c=d` → its parts; empty for any other text.
fn connection_parts(value: &str) -> Vec<(&str, &str)> {
    if !value.contains(';') {
        return Vec::new();
    }
    value
        .split(';')
        .filter_map(|part| part.split_once('='))
        .collect()
}

#[cfg(test)]
mod tests {
    use rstest::rstest;
    use secrecy::ExposeSecret;

    use super::*;

    /// Random text of this length, made at run time.
    fn random(chars: usize) -> String {
        let mut text = String::new();
        while text.len() < chars {
            text += &uuid::Uuid::new_v4().simple().to_string();
        }
        text.truncate(chars);
        text
    }

    fn registered(vars: &[(&str, &str)]) -> Vec<String> {
        let registry = SecretRegistry::default();
        register_environment(
            &registry,
            vars.iter().map(|(k, v)| (OsStr::new(*k), OsStr::new(*v))),
        );
        let known = registry.snapshot();
        known
            .iter()
            .map(|known| known.value.expose_secret().to_owned())
            .collect()
    }

    #[rstest]
    #[case("GITHUB_TOKEN", true)]
    #[case("AWS_SECRET_ACCESS_KEY", true)]
    #[case("PGPASSWORD", true)]
    #[case("clientSecret", true)]
    #[case("OPENAI_API_KEY", true)]
    #[case("AZURE_STORAGE_CONNECTION_STRING", true)]
    #[case("ADO_PAT", true)]
    #[case("PATH", false)]
    #[case("KEYBOARD", false)]
    #[case("KEY_COUNT", false)]
    #[case("COMPASS", false)]
    #[case("HOME", false)]
    #[case("AUTHOR", false)]
    fn names_say_whether_the_value_is_secret(#[case] name: &str, #[case] secret: bool) {
        assert_eq!(says_secret(name), secret);
    }

    #[rstest]
    #[case("postgres")]
    #[case("passwordpassword")]
    #[case("0000000000000000")]
    #[case("/home/someone/.ssh/id_ed25519")]
    #[case("/Users/Someone/key-2026.pem")]
    #[case("~/keys/service-account.json")]
    #[case("./secrets/token-file.txt")]
    #[case("C:\\keys\\service-account.json")]
    #[case("https://login.example.com/oauth2/token?x=1234")]
    fn words_paths_and_addresses_are_not_secret(#[case] value: &str) {
        assert_eq!(registered(&[("MY_TOKEN", value)]), [""; 0]);
    }

    #[test]
    fn a_random_value_under_a_telling_name_is_registered_and_under_another_is_not() {
        for chars in [20, 32, 64] {
            let value = random(chars);
            assert_eq!(
                registered(&[("MY_TOKEN", &value), ("MY_ID", &value)]),
                [value]
            );
        }
    }

    #[test]
    fn a_child_is_told_the_settings_among_the_secrets_and_gets_no_other() {
        let [setting, header, other] = [random(24), random(24), random(24)];
        let home = std::path::Path::new("/home/ann");
        let environment = Environment::fake(
            home,
            [
                ("SPARKLEASE__TARGETS__DEV__SECRET", &setting),
                ("SPARKLEASE__TARGETS__DEV__HEADERS__X-KEY", &header),
                ("SPARKLEASE__SERVER__WAIT", "30s"),
                ("GITHUB_TOKEN", &other),
                ("PATH", "/bin"),
            ],
        );
        let private = Private::of(&environment);
        assert_eq!(
            private.names,
            [
                "GITHUB_TOKEN",
                "SPARKLEASE__TARGETS__DEV__HEADERS__X-KEY",
                "SPARKLEASE__TARGETS__DEV__SECRET"
            ]
        );
        let told: Vec<&str> = private
            .settings
            .values()
            .map(ExposeSecret::expose_secret)
            .collect();
        assert_eq!(told, [header, setting]);
    }

    #[test]
    fn base64_that_starts_with_a_slash_is_no_path() {
        let value = format!("/{}+{}/x=", random(12), random(12));
        assert_eq!(registered(&[("AWS_SECRET_ACCESS_KEY", &value)]), [value]);
    }

    #[test]
    fn the_secret_part_of_a_connection_string_is_registered_alone() {
        let key = random(40);
        let value = format!("AccountName=lake;AccountKey={key}==;EndpointSuffix=core");
        assert_eq!(registered(&[("STORAGE", &value)]), [format!("{key}==")]);
    }
}

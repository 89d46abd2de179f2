//! The registry of every secret that this process has met. `auth`, `platform` and `config` write; the gate reads.

use std::sync::{Arc, PoisonError, RwLock};

use secrecy::{ExposeSecret, SecretString};

/// A secret with the word that its placeholder shows.
#[derive(Clone)]
pub struct KnownSecret {
    /// `token`, `password`, `env`, …: shown in the placeholder.
    pub kind: &'static str,
    /// The value.
    pub value: SecretString,
}

/// Every secret that the process obtained or was configured with. Cheap to clone; values stay until the process
/// ends, since a rotated token still shows in old logs.
#[derive(Clone, Default)]
pub struct SecretRegistry {
    inner: Arc<RwLock<Vec<KnownSecret>>>,
}

impl SecretRegistry {
    /// The shortest value that is registered, in characters: shorter ones would blank ordinary words.
    pub const MIN_CHARS: usize = 8;

    /// Remembers `value`, before its first use. Too short a value, or one that is known, changes nothing.
    pub fn register(&self, kind: &'static str, value: &str) {
        let value = value.trim();
        if value.chars().count() < Self::MIN_CHARS {
            return;
        }
        let mut known = self.inner.write().unwrap_or_else(PoisonError::into_inner);
        if !known.iter().any(|k| k.value.expose_secret() == value) {
            known.push(KnownSecret {
                kind,
                value: SecretString::from(value.to_owned()),
            });
        }
    }

    /// How many are known: grows only, so that a reader sees whether its automaton is stale.
    pub fn len(&self) -> usize {
        self.inner
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .len()
    }

    /// Whether none is known.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// A copy of all of them.
    pub fn snapshot(&self) -> Vec<KnownSecret> {
        self.inner
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}

impl std::fmt::Debug for SecretRegistry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "SecretRegistry({} known)", self.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_shows_no_value() {
        let registry = SecretRegistry::default();
        registry.register("token", "clearly-fake-secret-1");
        assert_eq!(format!("{registry:?}"), "SecretRegistry(1 known)");
    }

    #[test]
    fn short_and_known_values_change_nothing() {
        let registry = SecretRegistry::default();
        registry.register("token", "short");
        registry.register("token", "clearly-fake-secret-1");
        registry.register("env", " clearly-fake-secret-1\n");
        assert_eq!(registry.len(), 1);
    }
}

//! Ids and names. Each is a type of its own, so that one cannot stand where another is meant.

use std::fmt;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

macro_rules! text_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(String);

        impl $name {
            /// Takes the text as it is; whoever reads it from a caller checks it first.
            pub fn new(text: impl Into<String>) -> Self {
                Self(text.into())
            }

            /// The text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

text_id! {
    /// A statement, from the moment the call is accepted. Unguessable (122 random bits), since it is a
    /// handle that a client holds (MCP 2026-07-28 has no protocol sessions).
    StatementId
}
text_id! {
    /// A session that we opened, or are about to open.
    SessionId
}
text_id! {
    /// The name a caller gave to a session by `open_session`.
    SessionName
}
text_id! {
    /// For whom a lease is: the stdio client of this process, or the authenticated principal of an HTTP call.
    OwnerId
}
text_id! {
    /// One named entry of the configuration.
    TargetName
}
text_id! {
    /// The name we choose for a session before we create it; it makes a lost create findable.
    Tag
}

impl StatementId {
    /// A new, unguessable id.
    pub fn random() -> Self {
        Self(format!("st_{}", Uuid::new_v4().simple()))
    }
}

impl SessionId {
    /// A new id.
    pub fn random() -> Self {
        Self(format!("se_{}", Uuid::new_v4().simple()))
    }
}

impl OwnerId {
    /// A new owner, for a client that has no name of its own (stdio).
    pub fn random() -> Self {
        Self(format!("ow_{}", Uuid::new_v4().simple()))
    }
}

impl SessionName {
    /// The longest name, in characters: it is shown in every list and error.
    pub const MAX_CHARS: usize = 64;

    /// Checks a caller's name: 1–64 letters, digits, `_`, `-` or `.`, not starting with a dot.
    ///
    /// # Errors
    /// The reason, as a sentence fragment.
    pub fn parse(text: &str) -> Result<Self, String> {
        let count = text.chars().count();
        if count == 0 || count > Self::MAX_CHARS {
            return Err(format!(
                "a session name has 1 to {} characters, this one has {count}",
                Self::MAX_CHARS
            ));
        }
        let allowed = |c: char| c.is_alphanumeric() || matches!(c, '_' | '-' | '.');
        if let Some(bad) = text.chars().find(|c| !allowed(*c)) {
            return Err(format!(
                "a session name has letters, digits, '_', '-' and '.' only, not {bad:?}"
            ));
        }
        if text.starts_with('.') {
            return Err("a session name does not start with a dot".to_owned());
        }
        Ok(Self(text.to_owned()))
    }
}

impl Tag {
    /// The tag of a local session: it is in the worker's command line, so that the process table alone tells
    /// which processes are ours.
    pub fn for_session(session: &SessionId) -> Self {
        Self(format!("sparklease-{session}"))
    }
}

//! The one error of the product, and the closed set of its codes.

use std::borrow::Cow;
use std::error::Error as StdError;
use std::fmt;
use std::time::Duration;

use serde::Serialize;

/// What went wrong, as a closed set that never changes meaning.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Code {
    /// The call's arguments are wrong; the message names each.
    InvalidArgument,
    /// The configuration is wrong, or lacks something.
    ConfigurationInvalid,
    /// A target, session, statement, file or table that is not there.
    NotFound,
    /// The name is taken.
    AlreadyExists,
    /// The owner was silent for too long.
    LeaseExpired,
    /// The session is gone, and what it held with it.
    SessionLost,
    /// All sessions that the limits allow are busy.
    SessionsExhausted,
    /// The platform has no room now.
    CapacityUnavailable,
    /// The platform refused the session's settings.
    SpecRejected,
    /// The user's own code or SQL failed.
    StatementFailed,
    /// More than a limit lets out.
    ResultTooLarge,
    /// The caller asked for the end.
    Cancelled,
    /// A wait ended; the message says which one.
    Timeout,
    /// No valid sign-in.
    Unauthenticated,
    /// Signed in, but not allowed.
    PermissionDenied,
    /// A person must agree first.
    ConfirmationRequired,
    /// Our own policy refuses: for example SQL that does not only read.
    PolicyDenied,
    /// The day's budget is spent.
    BudgetExceeded,
    /// Too many calls.
    RateLimited,
    /// The platform does not answer.
    PlatformUnavailable,
    /// The local engine cannot be installed or started.
    EngineUnavailable,
    /// Not offered on this platform.
    Unsupported,
    /// A promise of ours is broken.
    Internal,
}

impl Code {
    /// Every code, in the order of the documentation.
    pub const ALL: [Self; 23] = [
        Self::InvalidArgument,
        Self::ConfigurationInvalid,
        Self::NotFound,
        Self::AlreadyExists,
        Self::LeaseExpired,
        Self::SessionLost,
        Self::SessionsExhausted,
        Self::CapacityUnavailable,
        Self::SpecRejected,
        Self::StatementFailed,
        Self::ResultTooLarge,
        Self::Cancelled,
        Self::Timeout,
        Self::Unauthenticated,
        Self::PermissionDenied,
        Self::ConfirmationRequired,
        Self::PolicyDenied,
        Self::BudgetExceeded,
        Self::RateLimited,
        Self::PlatformUnavailable,
        Self::EngineUnavailable,
        Self::Unsupported,
        Self::Internal,
    ];

    /// The code as callers see it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::InvalidArgument => "invalid_argument",
            Self::ConfigurationInvalid => "configuration_invalid",
            Self::NotFound => "not_found",
            Self::AlreadyExists => "already_exists",
            Self::LeaseExpired => "lease_expired",
            Self::SessionLost => "session_lost",
            Self::SessionsExhausted => "sessions_exhausted",
            Self::CapacityUnavailable => "capacity_unavailable",
            Self::SpecRejected => "spec_rejected",
            Self::StatementFailed => "statement_failed",
            Self::ResultTooLarge => "result_too_large",
            Self::Cancelled => "cancelled",
            Self::Timeout => "timeout",
            Self::Unauthenticated => "unauthenticated",
            Self::PermissionDenied => "permission_denied",
            Self::ConfirmationRequired => "confirmation_required",
            Self::PolicyDenied => "policy_denied",
            Self::BudgetExceeded => "budget_exceeded",
            Self::RateLimited => "rate_limited",
            Self::PlatformUnavailable => "platform_unavailable",
            Self::EngineUnavailable => "engine_unavailable",
            Self::Unsupported => "unsupported",
            Self::Internal => "internal",
        }
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Whether the same call may help later. Decided where the error is made, never read back from text.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Retry {
    /// The same call fails again.
    #[default]
    No,
    /// The same call may work at once.
    Now,
    /// The same call may work after this long.
    After(Duration),
}

/// What is known of the failure of a user's statement.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Details {
    /// The engine's error class (`TABLE_OR_VIEW_NOT_FOUND`) or the Python exception's (`ValueError`).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error_class: Option<String>,
    /// Five characters, where the engine gives them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sqlstate: Option<String>,
    /// From 1, in the user's text.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub line: Option<u32>,
    /// From 1, in the user's line.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub column: Option<u32>,
    /// Only the user's own lines.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub traceback: Option<String>,
}

/// The one error. Made where the meaning is known; `Display` prints itself, not its source.
#[derive(Clone)]
pub struct Error {
    inner: Box<Inner>,
}

#[derive(Clone)]
struct Inner {
    code: Code,
    message: Cow<'static, str>,
    hint: Cow<'static, str>,
    retry: Retry,
    details: Option<Details>,
    context: Vec<(&'static str, String)>,
    source: Option<std::sync::Arc<dyn StdError + Send + Sync>>,
}

/// `Result` with our error.
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    /// `message` says what failed: lower case, no full stop, no internals.
    pub fn new(code: Code, message: impl Into<Cow<'static, str>>) -> Self {
        Self {
            inner: Box::new(Inner {
                code,
                message: message.into(),
                hint: Cow::Borrowed(""),
                retry: Retry::No,
                details: None,
                context: Vec::new(),
                source: None,
            }),
        }
    }

    /// One sentence with the literal next call or command.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<Cow<'static, str>>) -> Self {
        self.inner.hint = hint.into();
        self
    }

    /// Whether trying again helps.
    #[must_use]
    pub fn retry(mut self, retry: Retry) -> Self {
        self.inner.retry = retry;
        self
    }

    /// What is known of the user's failed statement.
    #[must_use]
    pub fn details(mut self, details: Details) -> Self {
        self.inner.details = Some(details);
        self
    }

    /// A fact for the log.
    #[must_use]
    pub fn with(mut self, key: &'static str, value: impl fmt::Display) -> Self {
        self.inner.context.push((key, value.to_string()));
        self
    }

    /// What caused it, for the log.
    #[must_use]
    pub fn source_error(mut self, source: impl StdError + Send + Sync + 'static) -> Self {
        self.inner.source = Some(std::sync::Arc::new(source));
        self
    }

    /// A broken promise of ours.
    pub fn internal(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(Code::Internal, message).hint(
            "Run `sparklease doctor` and report this with its output and the server's stderr.",
        )
    }

    /// The code.
    pub fn code(&self) -> Code {
        self.inner.code
    }

    /// What failed.
    pub fn message(&self) -> &str {
        &self.inner.message
    }

    /// What to do; empty where nothing helps.
    pub fn hint_text(&self) -> &str {
        &self.inner.hint
    }

    /// Whether trying again helps.
    pub fn retry_kind(&self) -> Retry {
        self.inner.retry
    }

    /// What is known of the user's failed statement.
    pub fn details_ref(&self) -> Option<&Details> {
        self.inner.details.as_ref()
    }

    /// Facts for the log.
    pub fn context(&self) -> &[(&'static str, String)] {
        &self.inner.context
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.inner.code, self.inner.message)
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Error")
            .field("code", &self.inner.code)
            .field("message", &self.inner.message)
            .field("hint", &self.inner.hint)
            .field("retry", &self.inner.retry)
            .field("context", &self.inner.context)
            .field("source", &self.inner.source)
            .finish()
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.inner
            .source
            .as_ref()
            .map(|source| source.as_ref() as &(dyn StdError + 'static))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_is_spelt_alike_in_json_and_in_text() {
        for code in Code::ALL {
            assert_eq!(
                serde_json::to_value(code).unwrap(),
                serde_json::Value::from(code.as_str())
            );
        }
    }

    #[test]
    fn display_prints_itself_and_not_its_source() {
        let error = Error::new(Code::NotFound, "no such thing")
            .source_error(std::io::Error::other("inner"));
        assert_eq!(error.to_string(), "not_found: no such thing");
        assert_eq!(StdError::source(&error).unwrap().to_string(), "inner");
    }
}

//! One HTTP client for platforms with a REST interface: deadlines, credentials, a private CA, retries of what may be
//! asked twice, and transport failures in words that name the setting. What an answer means, the platform knows.

use std::error::Error as _;
use std::fmt;
use std::path::PathBuf;
use std::sync::{PoisonError, RwLock};
use std::time::Duration;

use backon::{ExponentialBuilder, Retryable as _};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use bytes::{Bytes, BytesMut};
use reqwest::header::{
    ACCEPT, AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, LOCATION, RETRY_AFTER,
};
use reqwest::{Certificate, Client, Method, Url, redirect};
use secrecy::{ExposeSecret, SecretString};
use serde_json::Value;
use tokio::time::Instant;

use crate::config::secrets::is_secret;
use crate::model::{Code, Error, Result, Retry, SecretRegistry, TargetName};

/// To a connection. A host that is there answers in milliseconds; a firewall that drops packets never does.
const CONNECT_FOR: Duration = Duration::from_secs(5);
/// From a request to the end of its answer, where the caller names no other time: more than a gateway waits.
pub(super) const ANSWER_FOR: Duration = Duration::from_secs(30);
/// A connection that idled longer may be dead: laptops sleep, gateways forget.
const POOL_IDLE_FOR: Duration = Duration::from_secs(30);
/// The largest answer that is read, in bytes. A statement's answer has at most 16 MB, its code comes beside it.
const ANSWER_MOST: usize = 64 << 20;
/// The first pause before a request is sent again; each one is twice as long, with jitter.
const RETRY_FIRST: Duration = Duration::from_millis(100);
const RETRY_MOST: Duration = Duration::from_secs(5);

/// How we sign in.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Credential {
    /// Not at all.
    None,
    /// A user and a password.
    Basic {
        /// The user.
        user: String,
        /// The password.
        secret: Source,
    },
    /// A token.
    Bearer(Source),
}

/// Where a secret is.
#[derive(Clone)]
pub(crate) enum Source {
    /// In the settings.
    Value(SecretString),
    /// In a file, which is read again when the server refuses what was in it.
    File(PathBuf),
}

impl PartialEq for Source {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Value(one), Self::Value(two)) => one.expose_secret() == two.expose_secret(),
            (Self::File(one), Self::File(two)) => one == two,
            _ => false,
        }
    }
}

impl fmt::Debug for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Value(_) => f.write_str("Value(…)"),
            Self::File(path) => f.debug_tuple("File").field(path).finish(),
        }
    }
}

/// Where a service is, and how it is spoken to.
#[derive(Clone, Debug)]
pub(crate) struct Address {
    /// Whose settings an error names.
    pub target: TargetName,
    /// The base of every path: `https://livy.example.com/gateway`.
    pub url: String,
    /// How we sign in.
    pub credential: Credential,
    /// Sent with every request; their values are never shown.
    pub headers: Vec<(String, SecretString)>,
    /// A PEM file of certificates to trust besides the system's.
    pub ca_file: Option<PathBuf>,
}

/// An answer, whatever its status.
#[derive(Clone, Debug)]
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) body: Bytes,
    pub(super) retry_after: Option<Duration>,
    pub(super) location: Option<String>,
}

/// A request without an answer.
#[derive(Clone, Debug)]
pub(super) struct Fault {
    /// The server may have got the request: what is not idempotent must not be sent again.
    pub(super) perhaps_sent: bool,
    /// Why.
    pub(super) error: Error,
}

/// A client of one service.
pub(super) struct Http {
    client: Client,
    base: String,
    target: TargetName,
    credential: Credential,
    authorization: RwLock<Option<HeaderValue>>,
    secrets: SecretRegistry,
}

impl Http {
    /// A client of the service at `address`. Every secret that it reads goes to `secrets` first.
    ///
    /// # Errors
    /// `configuration_invalid`, naming the setting.
    pub(super) fn new(address: &Address, secrets: &SecretRegistry) -> Result<Self> {
        let target = &address.target;
        let wrong = |key: &str, what: String| {
            Error::new(
                Code::ConfigurationInvalid,
                format!("`targets.{target}.{key}` {what}"),
            )
            .hint("Correct it in the configuration, then run `sparklease doctor`.")
        };
        let url = Url::parse(address.url.trim())
            .map_err(|e| wrong("url", format!("is no address: {e}")))?;
        let mut headers = HeaderMap::new();
        headers.insert(ACCEPT, HeaderValue::from_static("application/json"));
        // A server with protection against forged requests refuses everything else than GET without it.
        headers.insert(
            HeaderName::from_static("x-requested-by"),
            HeaderValue::from_static("sparklease"),
        );
        for (name, value) in &address.headers {
            // A header may as well hold the name of a team, which must not blank a column.
            if is_secret(name, value.expose_secret()) {
                secrets.register("header", value.expose_secret());
            }
            let bad = || {
                let what = format!("has {name:?}, which is no header or has no value for one");
                wrong("headers", what)
            };
            let name = HeaderName::try_from(name.as_str()).map_err(|_| bad())?;
            let mut value =
                HeaderValue::from_str(value.expose_secret().trim()).map_err(|_| bad())?;
            value.set_sensitive(true);
            headers.insert(name, value);
        }
        // Where another part of the process was first, it has set the same one.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let mut builder = Client::builder()
            .default_headers(headers)
            .user_agent(concat!("sparklease/", env!("CARGO_PKG_VERSION")))
            .connect_timeout(CONNECT_FOR)
            .pool_idle_timeout(POOL_IDLE_FOR)
            .redirect(redirect::Policy::none())
            .retry(reqwest::retry::never())
            .http1_only();
        if let Some(path) = &address.ca_file {
            let shown = path.display();
            let pem = std::fs::read(path)
                .map_err(|e| wrong("ca_file", format!("({shown}) cannot be read: {e}")))?;
            let found = Certificate::from_pem_bundle(&pem)
                .ok()
                .filter(|found| !found.is_empty());
            let Some(found) = found else {
                return Err(wrong(
                    "ca_file",
                    format!("({shown}) holds no certificate in PEM form"),
                ));
            };
            builder = builder.tls_certs_merge(found);
        }
        // A proxy of the environment cannot reach what listens here.
        if is_loopback(&url) {
            builder = builder.no_proxy();
        }
        let client = builder
            .build()
            .map_err(|e| wrong("url", format!("cannot be used: {}", chain(&e))))?;
        let http = Self {
            client,
            base: url.as_str().trim_end_matches('/').to_owned(),
            target: target.clone(),
            credential: address.credential.clone(),
            authorization: RwLock::default(),
            secrets: secrets.clone(),
        };
        http.sign_in()?;
        Ok(http)
    }

    /// The base of every path.
    pub(super) fn base(&self) -> &str {
        &self.base
    }

    /// Whose settings they are.
    pub(super) fn target(&self) -> &TargetName {
        &self.target
    }

    /// Reads the credential, and says whether it has changed.
    fn sign_in(&self) -> Result<bool> {
        let read = |source: &Source, kind| -> Result<String> {
            let secret = match source {
                Source::Value(value) => value.expose_secret().to_owned(),
                Source::File(path) => std::fs::read_to_string(path).map_err(|e| {
                    Error::new(
                        Code::ConfigurationInvalid,
                        format!(
                            "`targets.{}.secret_file` ({}) cannot be read: {e}",
                            self.target,
                            path.display()
                        ),
                    )
                    .hint("Name a file that holds the password or token and that you may read.")
                })?,
            };
            let secret = secret.trim().to_owned();
            if secret.is_empty() {
                let key = match source {
                    Source::Value(_) => "secret",
                    Source::File(_) => "secret_file",
                };
                return Err(Error::new(
                    Code::ConfigurationInvalid,
                    format!("`targets.{}.{key}` is empty", self.target),
                )
                .hint("Put the password or the token there."));
            }
            self.secrets.register(kind, &secret);
            Ok(secret)
        };
        let text = match &self.credential {
            Credential::None => None,
            Credential::Basic { user, secret } => {
                let both = BASE64.encode(format!("{user}:{}", read(secret, "password")?));
                self.secrets.register("password", &both);
                Some(format!("Basic {both}"))
            }
            Credential::Bearer(token) => Some(format!("Bearer {}", read(token, "token")?)),
        };
        let fresh = match text {
            None => None,
            Some(text) => {
                let mut value = HeaderValue::from_str(&text).map_err(|_| {
                    Error::new(
                        Code::ConfigurationInvalid,
                        format!(
                            "the secret of target {} holds a character that no header can carry",
                            self.target
                        ),
                    )
                    .hint("Look for a line break or a control character in it.")
                })?;
                value.set_sensitive(true);
                Some(value)
            }
        };
        let mut known = self
            .authorization
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        let changed = *known != fresh;
        *known = fresh;
        Ok(changed)
    }

    /// Sends a request once. A refused credential is read again, and the request sent again if there is another:
    /// what was refused has not been done.
    ///
    /// # Errors
    /// When there is no answer within `within`.
    /// # Cancel safety
    /// Not cancel-safe where the request is not: it may be on its way.
    pub(super) async fn send(
        &self,
        method: Method,
        path: &str,
        body: Option<&Value>,
        within: Duration,
    ) -> Result<Answer, Fault> {
        let answer = self.once(method.clone(), path, body, within).await?;
        if answer.status != 401 {
            return Ok(answer);
        }
        match self.sign_in() {
            Ok(true) => self.once(method, path, body, within).await,
            Ok(false) | Err(_) => Ok(answer),
        }
    }

    async fn once(
        &self,
        method: Method,
        path: &str,
        body: Option<&Value>,
        within: Duration,
    ) -> Result<Answer, Fault> {
        let mut request = self
            .client
            .request(method, format!("{}{path}", self.base))
            .timeout(within);
        let authorization = self
            .authorization
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        if let Some(value) = authorization {
            request = request.header(AUTHORIZATION, value);
        }
        if let Some(body) = body {
            request = request
                .header(CONTENT_TYPE, "application/json")
                .body(body.to_string());
        }
        let mut response = request
            .send()
            .await
            .map_err(|e| self.fault(&e, "answer", within))?;
        let header = |name| {
            let value = response.headers().get(name);
            value
                .and_then(|value| value.to_str().ok())
                .map(str::to_owned)
        };
        let retry_after = header(RETRY_AFTER).and_then(|text| delay(&text));
        let location = header(LOCATION);
        let status = response.status().as_u16();
        let mut whole = BytesMut::new();
        while let Some(piece) = response
            .chunk()
            .await
            .map_err(|e| self.fault(&e, "finish its answer", within))?
        {
            if whole.len() + piece.len() > ANSWER_MOST {
                return Err(Fault {
                    perhaps_sent: true,
                    error: Error::new(
                        Code::ResultTooLarge,
                        format!("an answer of {} has more than 64 MiB", self.base),
                    )
                    .hint("Ask for fewer rows."),
                });
            }
            whole.extend_from_slice(&piece);
        }
        Ok(Answer {
            status,
            body: whole.freeze(),
            retry_after,
            location,
        })
    }

    /// Gets something; faults, and answers that say "later", are followed by another try until `deadline`.
    ///
    /// # Errors
    /// The last fault.
    /// # Cancel safety
    /// Cancel-safe.
    pub(super) async fn get(&self, path: &str, deadline: Instant) -> Result<Answer, Fault> {
        let left = || deadline.saturating_duration_since(Instant::now());
        let ask = || async {
            let within = left().clamp(Duration::from_millis(100), ANSWER_FOR);
            match self.send(Method::GET, path, None, within).await {
                Ok(answer) if is_later(answer.status) => Err(Miss::Later(answer)),
                Ok(answer) => Ok(answer),
                Err(fault) => Err(Miss::Fault(fault)),
            }
        };
        let schedule = ExponentialBuilder::default()
            .with_min_delay(RETRY_FIRST)
            .with_max_delay(RETRY_MOST)
            .with_jitter()
            .without_max_times();
        let asked = ask
            .retry(schedule)
            .when(|miss| miss.may_pass() && !left().is_zero())
            .adjust(|miss, pause| {
                let pause = miss.retry_after().or(pause)?;
                // A pause that ends after the deadline helps nobody.
                (pause < left()).then_some(pause)
            })
            .await;
        match asked {
            Ok(answer) | Err(Miss::Later(answer)) => Ok(answer),
            Err(Miss::Fault(fault)) => Err(fault),
        }
    }

    fn fault(&self, e: &reqwest::Error, what: &str, within: Duration) -> Fault {
        Fault {
            perhaps_sent: !e.is_connect() && !e.is_builder(),
            error: self.explain(e, what, within),
        }
    }

    /// Why there is no answer, and which setting to look at.
    fn explain(&self, e: &reqwest::Error, what: &str, within: Duration) -> Error {
        let (base, target) = (&self.base, &self.target);
        let words = chain(e);
        let has = |part: &str| words.contains(part);
        let setting = format!("`targets.{target}.url`");
        let (code, message, hint) = if has("invalid peer certificate") {
            let why = if has("UnknownIssuer") || has("CaUsedAsEndEntity") {
                "it is self-signed, or from an authority that this machine does not know"
            } else if has("Expired") {
                "it has expired"
            } else if has("NotValidForName") || has("not valid for name") {
                "it is for another host name"
            } else {
                "it is not valid"
            };
            (
                Code::ConfigurationInvalid,
                format!("the certificate of {base} is not trusted: {why}"),
                format!(
                    "Set `targets.{target}.ca_file` to a PEM file with the authority's certificate, or correct {setting}."
                ),
            )
        } else if has("InvalidContentType") || has("corrupt message") || has("InvalidMessage") {
            (
                Code::ConfigurationInvalid,
                format!("{base} does not speak TLS"),
                format!("Write {setting} with http:// if the server has no TLS."),
            )
        } else if has("invalid HTTP version") || has("invalid HTTP status-line") {
            (
                Code::ConfigurationInvalid,
                format!("what listens at {base} does not speak plain HTTP"),
                format!(
                    "Write {setting} with https:// if the server has TLS, or correct its port."
                ),
            )
        } else if e.is_dns() || has("dns error") {
            (
                Code::PlatformUnavailable,
                format!("the host of {base} is not known"),
                format!("Correct {setting}, or join the network that knows the host."),
            )
        } else if has("Connection refused") || has("connection refused") {
            (
                Code::PlatformUnavailable,
                format!("nothing listens at {base}"),
                format!("Start the server, or correct {setting}."),
            )
        } else if e.is_connect() && e.is_timeout() {
            (
                Code::PlatformUnavailable,
                format!(
                    "{base} took no connection within {} s",
                    CONNECT_FOR.as_secs()
                ),
                format!("Look whether a firewall is between, or correct {setting}."),
            )
        } else if e.is_timeout() {
            (
                Code::PlatformUnavailable,
                format!("{base} did not {what} within {} s", within.as_secs_f32()),
                "Call the tool again; if it stays so, run `sparklease doctor`.".to_owned(),
            )
        } else {
            let hint = if base.starts_with("http://") {
                format!(
                    "Call the tool again; if it stays so, write {setting} with https://, since the server may want TLS."
                )
            } else {
                format!(
                    "Call the tool again; if it stays so, check {setting} with `sparklease doctor`."
                )
            };
            (
                Code::PlatformUnavailable,
                format!("the connection to {base} broke"),
                hint,
            )
        };
        let retry = match code {
            Code::PlatformUnavailable => Retry::Now,
            _ => Retry::No,
        };
        Error::new(code, message)
            .hint(hint)
            .retry(retry)
            .with("cause", words)
    }
}

impl fmt::Debug for Http {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Http")
            .field("base", &self.base)
            .finish_non_exhaustive()
    }
}

/// A GET that gave nothing yet.
#[derive(Debug)]
enum Miss {
    Later(Answer),
    Fault(Fault),
}

impl Miss {
    /// A wrong setting stays wrong.
    fn may_pass(&self) -> bool {
        match self {
            Self::Later(_) => true,
            Self::Fault(fault) => fault.error.code() == Code::PlatformUnavailable,
        }
    }

    fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Later(answer) => answer.retry_after,
            Self::Fault(_) => None,
        }
    }
}

/// Too many calls, no room, or a gateway that does not reach its server. 500 is not here: only the platform knows
/// what it means.
pub(super) fn is_later(status: u16) -> bool {
    matches!(status, 429 | 430 | 502 | 503 | 504)
}

/// Seconds, or a date.
fn delay(text: &str) -> Option<Duration> {
    let text = text.trim();
    if let Ok(seconds) = text.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let date = jiff::fmt::rfc2822::parse(text).ok()?;
    let left = date.timestamp().duration_since(jiff::Timestamp::now());
    Some(Duration::try_from(left).unwrap_or_default())
}

fn is_loopback(url: &Url) -> bool {
    let host = url.host_str().unwrap_or_default();
    let address = host.trim_matches(['[', ']']).parse::<std::net::IpAddr>();
    host == "localhost" || address.is_ok_and(|address| address.is_loopback())
}

/// An error with all its causes, without the address: it may hold what belongs into no log.
fn chain(e: &reqwest::Error) -> String {
    let mut words = Vec::new();
    let mut next = e.source();
    while let Some(cause) = next {
        words.push(cause.to_string());
        next = cause.source();
    }
    words.join(": ")
}

#[cfg(test)]
pub(super) mod testing;
#[cfg(test)]
mod tests;

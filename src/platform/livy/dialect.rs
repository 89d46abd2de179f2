//! What differs between services that speak Livy's protocol, as data. One is here: Apache Livy itself.

use std::time::Duration;

use serde_json::{Map, Value, json};

use super::Options;
use crate::model::Tag;

/// A variant of the protocol.
#[derive(Debug)]
pub(super) struct Dialect {
    /// As errors and results say it.
    pub(super) product: &'static str,
    /// Where its version is told; `None` where it is not.
    pub(super) version: Option<&'static str>,
    /// Where its sessions are.
    pub(super) sessions: &'static str,
    /// A field of the create that makes the server end a session which nobody asks for.
    pub(super) heartbeat: Option<&'static str>,
    /// Where a POST counts as activity of a busy session, below the session.
    pub(super) activity: Option<&'static str>,
    /// The REPL's protocol is on descriptors 0 and 1 of its Python.
    pub(super) repl_on_pipes: bool,
    /// From silence to the server's own look at it: its watchdog wakes up once a minute.
    pub(super) watchdog: Duration,
}

/// Apache Livy, 0.7 and later.
pub(super) static APACHE: Dialect = Dialect {
    product: "Apache Livy",
    version: Some("/version"),
    sessions: "/sessions",
    heartbeat: Some("heartbeatTimeoutInSecond"),
    activity: Some("/connect"),
    repl_on_pipes: true,
    watchdog: Duration::from_secs(60),
};

/// A version as far as it decides anything.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Version(pub(super) u32, pub(super) u32);

impl Version {
    /// `0.9.0-incubating` is 0.9.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let mut parts = text.trim().split(['.', '-', '+']);
        let mut number = || parts.next()?.parse().ok();
        Some(Self(number()?, number()?))
    }
}

impl Dialect {
    /// The body of a create. Only what every version takes, and what was asked for: a field that the server does not
    /// know is refused.
    pub(super) fn create(&self, tag: &Tag, options: &Options) -> Value {
        let mut body = Map::new();
        body.insert("kind".to_owned(), json!("pyspark"));
        body.insert("name".to_owned(), json!(tag.as_str()));
        if let Some(field) = self.heartbeat {
            body.insert(field.to_owned(), json!(options.heartbeat.as_secs()));
        }
        if let Some(user) = &options.proxy_user {
            body.insert("proxyUser".to_owned(), json!(user));
        }
        if !options.conf.is_empty() {
            body.insert("conf".to_owned(), json!(options.conf));
        }
        Value::Object(body)
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("0.9.0-incubating", Some(Version(0, 9)))]
    #[case("0.10.0-SNAPSHOT", Some(Version(0, 10)))]
    #[case("0.7.1.2", Some(Version(0, 7)))]
    #[case("", None)]
    #[case("trunk", None)]
    fn a_version_is_its_first_two_numbers(#[case] text: &str, #[case] found: Option<Version>) {
        assert_eq!(Version::parse(text), found);
    }

    #[test]
    fn a_create_holds_nothing_that_was_not_asked_for() {
        let options = Options::default();
        let body = APACHE.create(&Tag::new("sl1-x"), &options);
        assert_eq!(
            body,
            json!({"kind": "pyspark", "name": "sl1-x", "heartbeatTimeoutInSecond": 120})
        );
        let options = Options {
            proxy_user: Some("ann".to_owned()),
            conf: [("spark.x".to_owned(), "1".to_owned())].into(),
            ..Options::default()
        };
        let body = APACHE.create(&Tag::new("sl1-x"), &options);
        assert_eq!(body["proxyUser"], "ann");
        assert_eq!(body["conf"], json!({"spark.x": "1"}));
    }
}

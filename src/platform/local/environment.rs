//! The whole environment of a worker: an allow-list, and what the engine needs.
//!
//! Sail applies `DATABRICKS_*`, `UNITY_*` and `UC_*` after its own settings, and `SPARK_CONNECT_AUTHENTICATE_TOKEN`
//! makes the local PySpark client hang: an allow-list keeps these and every secret of ours out.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::Path;

/// What is passed on when it is set: where things are, who one is, how text looks, how the network is reached.
const PASSED: &[&str] = &[
    "PATH",
    "HOME",
    "USER",
    "LOGNAME",
    "SHELL",
    "LANG",
    "LANGUAGE",
    "TZ",
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
    "REQUESTS_CA_BUNDLE",
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "NO_PROXY",
    "http_proxy",
    "https_proxy",
    "no_proxy",
];

/// Where the engine listens, and what else is this machine: never reached through a proxy.
const THIS_MACHINE: [&str; 2] = ["127.0.0.1", "localhost"];

/// The engine's memory pool, as a share of the worker's cap: the rest is for the user's Python.
const ENGINE_SHARE_PERCENT: u64 = 60;

/// Builds it from our own environment.
pub(super) fn worker(
    own: impl Iterator<Item = (OsString, OsString)>,
    scratch: &Path,
    cache: &Path,
    catalog_list: &str,
    memory_bytes: u64,
) -> BTreeMap<OsString, OsString> {
    let mut environment: BTreeMap<OsString, OsString> = own
        .filter(|(key, _)| {
            let key = key.to_string_lossy();
            PASSED.contains(&key.as_ref()) || key.starts_with("LC_")
        })
        .collect();
    past_the_proxy(&mut environment);
    let mut set = |key: &str, value: OsString| environment.insert(key.into(), value);
    // PySpark's client refuses some ways of starting without it; any value does.
    set("SPARK_HOME", scratch.into());
    set("TMPDIR", scratch.into());
    set("MPLBACKEND", "Agg".into());
    set("MPLCONFIGDIR", cache.join("matplotlib").into());
    // With the default on 2 cores an interrupt waits up to 70 s behind a query that never yields.
    let cores = std::thread::available_parallelism().map_or(2, usize::from);
    set(
        "TOKIO_WORKER_THREADS",
        (cores + 2).max(4).to_string().into(),
    );
    // Our own limits end sessions; the engine's must not come first. In seconds: a week.
    set("SAIL_SPARK__SESSION_TIMEOUT_SECS", "604800".into());
    set("SAIL_CATALOG__LIST", catalog_list.into());
    set("SAIL_RUNTIME__MEMORY_POOL__TYPE", "greedy".into());
    let pool = memory_bytes / 100 * ENGINE_SHARE_PERCENT;
    set(
        "SAIL_RUNTIME__MEMORY_POOL__GREEDY__MAX_SIZE",
        pool.to_string().into(),
    );
    environment
}

/// Adds this machine to what is reached without a proxy: gRPC takes the engine's own port to the proxy otherwise, and
/// waits there without end.
///
/// gRPC reads the lower-case spelling alone, others either, so both say the same. A `*` that stands alone means
/// "no proxy at all" and stays alone, since next to other names it means nothing; gRPC does not know it, so the
/// proxies go then.
fn past_the_proxy(environment: &mut BTreeMap<OsString, OsString>) {
    let given = |name: &str| environment.get(&OsString::from(name)).cloned();
    let hosts = ["no_proxy", "NO_PROXY"].into_iter().find_map(given);
    let mut hosts = hosts.unwrap_or_default();
    if hosts == "*" {
        for proxy in ["HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy"] {
            environment.remove(&OsString::from(proxy));
        }
    } else {
        for host in THIS_MACHINE {
            if !hosts.is_empty() {
                hosts.push(",");
            }
            hosts.push(host);
        }
    }
    for name in ["no_proxy", "NO_PROXY"] {
        environment.insert(name.into(), hosts.clone());
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case::none(&[], "127.0.0.1,localhost", false)]
    #[case::a_proxy(&[("http_proxy", "http://p:1")], "127.0.0.1,localhost", true)]
    #[case::upper(&[("NO_PROXY", "corp"), ("http_proxy", "http://p:1")], "corp,127.0.0.1,localhost", true)]
    #[case::lower_first(&[("NO_PROXY", "x"), ("no_proxy", "corp")], "corp,127.0.0.1,localhost", false)]
    #[case::all(&[("no_proxy", "*"), ("http_proxy", "http://p:1")], "*", false)]
    fn the_engine_is_reached_past_any_proxy(
        #[case] own: &[(&str, &str)],
        #[case] hosts: &str,
        #[case] proxied: bool,
    ) {
        let own = own
            .iter()
            .map(|(k, v)| (OsString::from(k), OsString::from(v)));
        let environment = worker(own, Path::new("s"), Path::new("c"), "[]", 1000);
        let value = |name: &str| environment.get(&OsString::from(name));
        assert_eq!(value("no_proxy").unwrap(), hosts);
        assert_eq!(value("NO_PROXY").unwrap(), hosts);
        assert_eq!(value("http_proxy").is_some(), proxied);
    }

    #[test]
    fn nothing_secret_or_harmful_is_passed_on() {
        let own = [
            ("PATH", "/bin"),
            ("LC_ALL", "C.UTF-8"),
            ("DATABRICKS_TOKEN", "clearly-fake"),
            ("DATABRICKS_HOST", "clearly-fake"),
            ("UC_TOKEN", "clearly-fake"),
            ("SPARK_CONNECT_AUTHENTICATE_TOKEN", "clearly-fake"),
            ("AWS_SECRET_ACCESS_KEY", "clearly-fake"),
            ("PYTHONPATH", "/elsewhere"),
        ]
        .map(|(k, v)| (OsString::from(k), OsString::from(v)));
        let environment = worker(own.into_iter(), Path::new("s"), Path::new("c"), "[]", 1000);
        assert!(environment.values().all(|v| v != "clearly-fake"));
        assert!(!environment.contains_key(&OsString::from("PYTHONPATH")));
        assert_eq!(environment[&OsString::from("PATH")], "/bin");
        assert_eq!(
            environment[&OsString::from("SAIL_RUNTIME__MEMORY_POOL__GREEDY__MAX_SIZE")],
            "600"
        );
    }
}

//! The words of pip and uv, as recorded, and what they are understood as.

use rstest::rstest;

use super::*;

/// Recorded from pip 23.0 and uv 0.13, shortened: `pip_refused`, `pip_name`, `pip_absent`, `pip_hash` and all of `uv_*`.
/// The others are written after the form of their messages and were not provoked.
#[rstest]
#[case::pip_refused(
    "WARNING: Retrying (Retry(total=0)) after connection broken by 'NewConnectionError('x: Failed to establish a new connection: [Errno 111] Connection refused')': /simple/setuptools/\nERROR: Could not find a version that satisfies the requirement setuptools==84.2.1 (from versions: none)\nERROR: No matching distribution found for setuptools==84.2.1",
    Cause::Network
)]
#[case::pip_name(
    "WARNING: Retrying after connection broken by 'NewConnectionError('x: [Errno -2] Name or service not known')'\nERROR: Could not find a version that satisfies the requirement setuptools==84.2.1 (from versions: none)\nERROR: No matching distribution found for setuptools==84.2.1",
    Cause::Name
)]
#[case::pip_tls(
    "Could not fetch URL https://x/simple/: There was a problem confirming the ssl certificate: [SSL: CERTIFICATE_VERIFY_FAILED] - skipping\nERROR: No matching distribution found for numpy==2.4.6",
    Cause::Tls
)]
#[case::pip_proxy(
    "WARNING: Retrying after connection broken by 'ProxyError('Cannot connect to proxy.')'\nERROR: No matching distribution found for numpy==2.4.6",
    Cause::Proxy
)]
#[case::pip_absent(
    "ERROR: Could not find a version that satisfies the requirement pysail==0.7.2 (from versions: none)\nERROR: No matching distribution found for pysail==0.7.2",
    Cause::NotOffered("pysail 0.7.2".into())
)]
#[case::pip_hash(
    "ERROR: THESE PACKAGES DO NOT MATCH THE HASHES FROM THE REQUIREMENTS FILE. If you have updated\n    setuptools==84.2.1 from file:///w/setuptools-84.2.1-py3-none-any.whl (from -r build.lock (line 1)):\n        Expected sha256 3f",
    Cause::Hash("setuptools 84.2.1".into())
)]
#[case::pip_disk(
    "Installing collected packages: pysail\nERROR: Could not install packages due to an OSError: [Errno 28] No space left on device",
    Cause::DiskFull
)]
#[case::pip_rights(
    "ERROR: Could not install packages due to an OSError: [Errno 13] Permission denied: '/x'",
    Cause::NotWritable
)]
#[case::pip_retried_then_full(
    "WARNING: Retrying after connection broken by 'NewConnectionError'\nERROR: Could not install packages due to an OSError: [Errno 28] No space left on device",
    Cause::DiskFull
)]
#[case::uv_refused(
    "Using Python 3.11.7 environment at: x\nerror: Request failed after 3 retries in 9.5s\n  cause: Failed to fetch: http://127.0.0.1:9/simple/setuptools/\n  cause: error sending request for url (http://127.0.0.1:9/simple/setuptools/)\n  cause: tcp connect error\n  cause: Connection refused (os error 111)",
    Cause::Network
)]
#[case::uv_name(
    "error: Request failed after 3 retries in 6.2s\n  cause: dns error\n  cause: failed to lookup address information: Name or service not known",
    Cause::Name
)]
#[case::uv_proxy(
    "error: Request failed\n  cause: tunnel error: failed to create underlying connection\n  cause: Connection refused (os error 111)",
    Cause::Proxy
)]
#[case::uv_tls(
    "error: Failed to fetch: https://x/simple/setuptools/\n  cause: error sending request\n  cause: invalid peer certificate: UnknownIssuer",
    Cause::Tls
)]
#[case::uv_hash(
    "error: Failed to download `setuptools==84.2.1`\n  cause: Hash mismatch for `setuptools==84.2.1`\n\n Expected:\n sha256:0ff",
    Cause::Hash("setuptools 84.2.1".into())
)]
#[case::uv_damaged(
    "error: Failed to download `setuptools==84.2.1`\n  cause: Failed to extract archive: setuptools-84.2.1-py3-none-any.whl\n  cause: Invalid zip file structure",
    Cause::Damaged("setuptools 84.2.1".into())
)]
#[case::uv_absent(
    "error: No solution found when resolving dependencies\n  cause: Because setuptools was not found in the provided package locations and you require setuptools==84.2.1, we can conclude",
    Cause::NotOffered("setuptools".into())
)]
#[case::denied(
    "error: Failed to fetch: https://x/simple/\n  cause: HTTP status client error (401 Unauthorized) for url",
    Cause::Denied
)]
#[case::other(
    "hello\nerror: unexpected argument '--no-such' found\n",
    Cause::Other("error: unexpected argument '--no-such' found".into())
)]
#[case::silent("", Cause::Other("it said nothing".into()))]
fn words_of_pip_and_uv_are_understood(#[case] output: &str, #[case] cause: Cause) {
    assert_eq!(read(output), cause);
}

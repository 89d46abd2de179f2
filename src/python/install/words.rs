//! What pip and uv mean by their last lines. Makes no error of ours: `errors.rs` does.

/// Why an installation failed, as far as the program's words tell.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Cause {
    /// The index does not answer.
    Network,
    /// The index's name is not resolved.
    Name,
    /// The proxy does not let through.
    Proxy,
    /// A certificate is not trusted.
    Tls,
    /// The index wants a sign-in, or forbids.
    Denied,
    /// No room.
    DiskFull,
    /// The file of this package is not the one that the lock names.
    Hash(String),
    /// A file cannot be unpacked.
    Damaged(String),
    /// No file of this package for this system and Python.
    NotOffered(String),
    /// A folder may not be written.
    NotWritable,
    /// Its own last words.
    Other(String),
}

impl Cause {
    /// Whether another installer, with its own settings and certificates, may fare better.
    pub(super) fn may_be_the_installers(&self, offline: bool) -> bool {
        match self {
            Self::DiskFull | Self::Hash(_) | Self::Damaged(_) | Self::NotWritable => false,
            Self::NotOffered(_) => !offline,
            _ => true,
        }
    }
}

/// Marks of a cause, the surer first. pip's and uv's own words, and the system's error numbers, which no locale changes.
const MARKS: [(&[&str], Cause); 7] = [
    (
        &[
            "No space left on device",
            "Errno 28]",
            "os error 28)",
            "Errno 122]",
            "os error 122)",
            "Disk quota exceeded",
        ],
        Cause::DiskFull,
    ),
    (
        &[
            "CERTIFICATE_VERIFY_FAILED",
            "SSLError",
            "invalid peer certificate",
            "ssl certificate",
            "SSLCertVerificationError",
        ],
        Cause::Tls,
    ),
    (
        &[
            "ProxyError",
            "tunnel error",
            "Cannot connect to proxy",
            "Tunnel connection failed",
            "407 Proxy",
        ],
        Cause::Proxy,
    ),
    (
        &[
            "Name or service not known",
            "Temporary failure in name resolution",
            "nodename nor servname",
            "No address associated with hostname",
            "NameResolutionError",
            "dns error",
        ],
        Cause::Name,
    ),
    (
        &[
            "401 Client Error",
            "403 Client Error",
            "HTTP error 401",
            "HTTP error 403",
            "401 Unauthorized",
            "403 Forbidden",
        ],
        Cause::Denied,
    ),
    (
        &[
            "NewConnectionError",
            "ConnectTimeoutError",
            "ReadTimeoutError",
            "Connection refused",
            "Connection reset",
            "Connection aborted",
            "RemoteDisconnected",
            "ProtocolError",
            "IncompleteRead",
            "Network is unreachable",
            "No route to host",
            "error sending request",
            "error decoding response body",
            "operation timed out",
            "Read timed out",
            "500 Server Error",
            "502 Server Error",
            "503 Server Error",
            "504 Server Error",
            "HTTP status server error",
            "network was disabled",
            "Network connectivity is disabled",
        ],
        Cause::Network,
    ),
    (
        &[
            "Permission denied",
            "Read-only file system",
            "Errno 13]",
            "os error 13)",
            "Errno 30]",
            "os error 30)",
        ],
        Cause::NotWritable,
    ),
];

/// What the last lines of uv or pip mean.
///
/// pip reports a network that is down as a package without versions, after warnings that say why; but a warning alone may
/// have been followed by a retry that worked. So the final error decides, and the warnings only where it knows no more.
pub(super) fn read(output: &str) -> Cause {
    let last = final_error(output);
    if let Some(package) = package_after(last, &["Hash mismatch for"]) {
        return Cause::Hash(package);
    }
    if let Some((_, after)) = last.split_once("DO NOT MATCH THE HASHES") {
        return Cause::Hash(pinned(after).unwrap_or_else(|| "a package".to_owned()));
    }
    let damaged = [
        "Failed to extract archive",
        "Invalid zip file",
        "BadZipFile",
        "has an invalid wheel",
        "Failed to read metadata",
    ];
    if damaged.iter().any(|mark| last.contains(mark)) {
        return Cause::Damaged(pinned(last).unwrap_or_else(|| "a package".to_owned()));
    }
    if let Some(cause) = marked(last) {
        return cause;
    }
    let absent = [
        "No matching distribution found for",
        "Could not find a version that satisfies the requirement",
        "Because",
    ];
    if let Some(package) = package_after(last, &absent) {
        let network = marked(output).filter(|cause| *cause != Cause::NotWritable);
        return network.unwrap_or(Cause::NotOffered(package));
    }
    Cause::Other(last_words(last))
}

fn marked(text: &str) -> Option<Cause> {
    MARKS
        .iter()
        .find(|(marks, _)| marks.iter().any(|mark| text.contains(mark)))
        .map(|(_, cause)| cause.clone())
}

/// From the first line that begins an error to the end; all of it where none does.
fn final_error(output: &str) -> &str {
    let starts = ["ERROR", "error", "Error", "Traceback", "  ×", "OSError"];
    let mut offset = 0;
    for line in output.split_inclusive('\n') {
        if starts.iter().any(|start| line.starts_with(start)) {
            return output.get(offset..).unwrap_or(output);
        }
        offset += line.len();
    }
    output
}

/// The word after one of `marks`, quotes and version marks of the requirement taken off.
fn package_after(text: &str, marks: &[&str]) -> Option<String> {
    marks.iter().find_map(|mark| {
        let (_, after) = text.split_once(mark)?;
        let word = after.split_whitespace().next()?;
        let word = word.trim_matches(|c: char| !c.is_ascii_alphanumeric());
        (!word.is_empty()).then(|| word.replace("==", " "))
    })
}

/// The first `name==version` of a text.
fn pinned(text: &str) -> Option<String> {
    let word = text.split_whitespace().find(|word| word.contains("=="))?;
    let word = word.trim_matches(|c: char| !c.is_ascii_alphanumeric());
    Some(word.replace("==", " "))
}

/// The last line that says something, short, and without what may be the credentials of an index.
pub(super) fn last_words(text: &str) -> String {
    let line = text
        .lines()
        .map(str::trim)
        .rfind(|line| !line.is_empty() && !line.starts_with("hint") && !line.starts_with("[notice"))
        .unwrap_or("it said nothing");
    without_userinfo(line).chars().take(300).collect()
}

/// `https://user:secret@host/` becomes `https://host/`.
pub(super) fn without_userinfo(text: &str) -> String {
    let mut clean = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("://") {
        clean.push_str(before);
        clean.push_str("://");
        let end = after
            .find(|c: char| c == '/' || c.is_whitespace() || "'\"`)<>".contains(c))
            .unwrap_or(after.len());
        let (authority, tail) = after.split_at(end);
        clean.push_str(authority.rsplit('@').next().unwrap_or(authority));
        rest = tail;
    }
    clean.push_str(rest);
    clean
}

#[cfg(test)]
mod tests;

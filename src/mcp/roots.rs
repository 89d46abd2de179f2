//! The client's roots: the folders that it says the user works in. Only clients of 2025-11-25 and before can be asked.

use std::path::PathBuf;
use std::time::Duration;

use rmcp::RoleServer;
use rmcp::model::ProtocolVersion;
use rmcp::service::RequestContext;

/// A client that offers roots answers at once; one that does not is not worth a wait.
const ASK_FOR: Duration = Duration::from_secs(2);

/// The client's roots that are local folders; empty when it offers none.
#[allow(
    deprecated,
    reason = "roots are deprecated in 2026-07-28 and still what 2025-11-25 clients offer"
)]
pub(super) async fn ask(context: &RequestContext<RoleServer>) -> Vec<PathBuf> {
    let modern = context
        .protocol_version()
        .is_some_and(|version| version >= ProtocolVersion::V_2026_07_28);
    let offers = context
        .client_capabilities()
        .is_some_and(|capabilities| capabilities.roots.is_some());
    if modern || !offers {
        return Vec::new();
    }
    match tokio::time::timeout(ASK_FOR, context.peer.list_roots()).await {
        Ok(Ok(answer)) => answer
            .roots
            .iter()
            .filter_map(|root| local_folder(&root.uri))
            .collect(),
        Ok(Err(e)) => {
            tracing::debug!(error = %e, "the client gave no roots");
            Vec::new()
        }
        Err(_) => Vec::new(),
    }
}

/// `file:///a%20b` as `/a b`.
fn local_folder(uri: &str) -> Option<PathBuf> {
    let path = uri.strip_prefix("file://")?;
    let path = path.strip_prefix("localhost").unwrap_or(path);
    let mut bytes = Vec::with_capacity(path.len());
    let mut rest = path.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        let decoded = (*first == b'%')
            .then(|| after.get(..2))
            .flatten()
            .and_then(|hex| std::str::from_utf8(hex).ok())
            .and_then(|hex| u8::from_str_radix(hex, 16).ok());
        match decoded {
            Some(byte) => {
                bytes.push(byte);
                rest = after.get(2..).unwrap_or_default();
            }
            None => {
                bytes.push(*first);
                rest = after;
            }
        }
    }
    let path = PathBuf::from(String::from_utf8(bytes).ok()?);
    path.is_absolute().then_some(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn file_uris_become_paths() {
        assert_eq!(
            local_folder("file:///a%20b/c"),
            Some(PathBuf::from("/a b/c"))
        );
        assert_eq!(
            local_folder("file://localhost/a"),
            Some(PathBuf::from("/a"))
        );
        assert_eq!(local_folder("https://example.org/a"), None);
        assert_eq!(local_folder("file:///%zz"), Some(PathBuf::from("/%zz")));
    }
}

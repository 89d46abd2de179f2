//! The four digits of a placeholder: a keyed hash, so that nobody can try passwords against it.

use std::sync::OnceLock;

use sha2::{Digest, Sha256};
use uuid::Uuid;

/// SHA-256 works on blocks of 64 bytes.
const BLOCK: usize = 64;

/// The key of this process's tags.
pub(super) struct Key([u8; 32]);

impl Key {
    /// Random, made once: a secret has one tag in every output of the process, and another in the next process.
    pub(super) fn of_process() -> &'static Self {
        static KEY: OnceLock<Key> = OnceLock::new();
        KEY.get_or_init(|| {
            // 244 random bits from the system.
            let mut seed = Sha256::new();
            seed.update(Uuid::new_v4().as_bytes());
            seed.update(Uuid::new_v4().as_bytes());
            Self(seed.finalize().into())
        })
    }

    /// Four hexadecimal digits for `secret`.
    pub(super) fn tag(&self, secret: &str) -> String {
        let mac = hmac(&self.0, secret.as_bytes());
        mac.iter().take(2).map(|b| format!("{b:02x}")).collect()
    }
}

/// HMAC-SHA256 (RFC 2104) with a key of at most one block.
fn hmac(key: &[u8], message: &[u8]) -> [u8; 32] {
    let pad = |with: u8| {
        let mut block = [with; BLOCK];
        for (byte, key) in block.iter_mut().zip(key) {
            *byte ^= key;
        }
        block
    };
    let inner = Sha256::new()
        .chain_update(pad(0x36))
        .chain_update(message)
        .finalize();
    Sha256::new()
        .chain_update(pad(0x5c))
        .chain_update(inner)
        .finalize()
        .into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hmac_agrees_with_rfc_4231() {
        let mac = hmac(b"Jefe", b"what do ya want for nothing?");
        let text: String = mac.iter().map(|b| format!("{b:02x}")).collect();
        assert_eq!(
            text,
            "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"
        );
    }

    #[test]
    fn a_secret_keeps_its_tag_and_another_has_another() {
        let key = Key([7; 32]);
        assert_eq!(key.tag("clearly-fake-1"), key.tag("clearly-fake-1"));
        assert_ne!(key.tag("clearly-fake-1"), key.tag("clearly-fake-2"));
        assert_ne!(
            key.tag("clearly-fake-1"),
            Key([8; 32]).tag("clearly-fake-1")
        );
    }
}

//! The names of remote sessions: `sl1-<host6>-<owner8>-<nonce10>-<exp>`. A name alone tells whose the session is and
//! when it is over, also to somebody who has lost the ledger.
//!
//! Sessions that die with their process need none of this: their tag is [`Tag::for_session`].

use std::fmt;
use std::path::Path;
use std::time::Duration;

use sha2::{Digest, Sha256};
use uuid::Uuid;

use crate::model::Tag;

/// The first part of each name: it begins with a letter, since some services take a name of digits for an id.
const VERSION: &str = "sl1";

/// RFC 4648, lower case: no digit that looks like a letter.
const ALPHABET: &[u8; 32] = b"abcdefghijklmnopqrstuvwxyz234567";

const HOST: usize = 6;
const OWNER: usize = 8;
const NONCE: usize = 10;

/// What is added to a session's longest life: clocks of other machines may be wrong by this much.
const MARGIN: Duration = Duration::from_secs(3600);

/// `count` characters of five bits each, from the low bits of `bytes`.
fn base32(bytes: impl IntoIterator<Item = u8>, count: usize) -> String {
    bytes
        .into_iter()
        .take(count)
        .filter_map(|byte| ALPHABET.get(usize::from(byte & 31)))
        .map(|&letter| char::from(letter))
        .collect()
}

/// As many random characters, at most 14.
fn random(count: usize) -> String {
    // Bytes 6 and 8 hold the version and the variant.
    let bytes = Uuid::new_v4().into_bytes();
    let random = bytes.into_iter().enumerate();
    base32(
        random
            .filter(|(at, _)| !matches!(at, 6 | 8))
            .map(|(_, byte)| byte),
        count,
    )
}

fn is_base32(text: &str, count: usize) -> bool {
    text.len() == count && text.bytes().all(|byte| ALPHABET.contains(&byte))
}

/// Whose state this is: one user's folder on one machine.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Host(String);

impl Host {
    /// From the machine, the user, the state folder, and what was written into that folder when it was made. The
    /// last keeps containers apart that were started from one image.
    pub(crate) fn of(machine: &str, user: u32, folder: &Path, salt: &str) -> Self {
        let mut hash = Sha256::new();
        for part in [
            machine.as_bytes(),
            &user.to_le_bytes(),
            folder.as_os_str().as_encoded_bytes(),
            salt.as_bytes(),
        ] {
            hash.update(part.len().to_le_bytes());
            hash.update(part);
        }
        Self(base32(hash.finalize(), HOST))
    }

    /// What the names of all our sessions begin with.
    pub(crate) fn prefix(&self) -> String {
        format!("{VERSION}-{}-", self.0)
    }
}

/// A process that has sessions, as long as it holds its lock.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Owner(String);

impl Owner {
    /// A new one: 40 random bits, and its file must not be there yet.
    pub(crate) fn random() -> Self {
        Self(random(OWNER))
    }

    /// Reads one back.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        is_base32(text, OWNER).then(|| Self(text.to_owned()))
    }

    /// Its text.
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }

    /// What the names of its sessions begin with.
    pub(crate) fn prefix(&self, host: &Host) -> String {
        format!("{}{}-", host.prefix(), self.0)
    }
}

impl fmt::Display for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A name, taken apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Name {
    /// Whose state.
    pub host: Host,
    /// Whose session.
    pub owner: Owner,
    /// Wall time, from the epoch, in whole minutes: nobody can still want the session then.
    pub expires: Duration,
    nonce: String,
}

impl Name {
    /// A new name for a session that begins now and lives for `life_for` at most.
    pub(crate) fn new(host: &Host, owner: &Owner, now: Duration, life_for: Duration) -> Self {
        let ends = now + life_for + MARGIN;
        Self {
            host: host.clone(),
            owner: owner.clone(),
            expires: Duration::from_secs(ends.as_secs().div_ceil(60) * 60),
            nonce: random(NONCE),
        }
    }

    /// As the service gets it.
    pub(crate) fn tag(&self) -> Tag {
        let minutes = base36(self.expires.as_secs() / 60);
        Tag::new(format!(
            "{VERSION}-{}-{}-{}-{minutes}",
            self.host.0, self.owner, self.nonce
        ))
    }

    /// Reads one back; `None` for every name that we did not make.
    pub(crate) fn parse(tag: &Tag) -> Option<Self> {
        let mut parts = tag.as_str().split('-');
        let mut part = || parts.next();
        let (version, host, owner) = (part()?, part()?, part()?);
        let (nonce, expires) = (part()?, part()?);
        if version != VERSION
            || part().is_some()
            || !is_base32(host, HOST)
            || !is_base32(nonce, NONCE)
        {
            return None;
        }
        // The one spelling only: no sign, no capitals, no leading zero.
        let minutes = u64::from_str_radix(expires, 36).ok()?;
        if base36(minutes) != expires {
            return None;
        }
        Some(Self {
            host: Host(host.to_owned()),
            owner: Owner::parse(owner)?,
            expires: Duration::from_secs(minutes.checked_mul(60)?),
            nonce: nonce.to_owned(),
        })
    }
}

fn base36(mut number: u64) -> String {
    let mut digits = Vec::new();
    loop {
        let digit = u32::try_from(number % 36).unwrap_or_default();
        digits.extend(char::from_digit(digit, 36));
        number /= 36;
        if number == 0 {
            return digits.into_iter().rev().collect();
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rstest::rstest;

    use super::*;

    fn host() -> Host {
        Host::of("machine", 1000, Path::new("/state"), "salt")
    }

    #[test]
    fn a_name_begins_with_a_letter_and_fits_every_service() {
        let name = Name::new(
            &host(),
            &Owner::random(),
            Duration::from_secs(1_800_000_000),
            Duration::from_secs(8 * 3600),
        );
        let tag = name.tag();
        assert!(tag.as_str().starts_with("sl1-"));
        assert!(tag.as_str().len() <= 40, "{tag}");
        let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
        assert!(tag.as_str().chars().all(plain), "{tag}");
        assert!(tag.as_str().starts_with(&name.owner.prefix(&host())));
    }

    #[test]
    fn the_expiry_is_the_longest_life_and_an_hour() {
        let now = Duration::from_secs(1_800_000_001);
        let name = Name::new(&host(), &Owner::random(), now, Duration::from_secs(60));
        assert_eq!(name.expires, Duration::from_secs(1_800_000_000 + 3720));
    }

    #[rstest]
    #[case("other", 1000, "/state", "salt")]
    #[case("machine", 1001, "/state", "salt")]
    #[case("machine", 1000, "/other", "salt")]
    #[case("machine", 1000, "/state", "other")]
    fn each_part_of_a_host_tells_it_apart(
        #[case] machine: &str,
        #[case] user: u32,
        #[case] folder: &str,
        #[case] salt: &str,
    ) {
        assert_ne!(Host::of(machine, user, Path::new(folder), salt), host());
    }

    #[rstest]
    #[case("sparklease-se_1")]
    #[case("sl1")]
    #[case("sl2-aaaaaa-aaaaaaaa-aaaaaaaaaa-htjz4")]
    #[case("sl1-aaaaa-aaaaaaaa-aaaaaaaaaa-htjz4")]
    #[case("sl1-aaaaaa-aaaaaaa-aaaaaaaaaa-htjz4")]
    #[case("sl1-aaaaaa-aaaaaaaa-aaaaaaaaa-htjz4")]
    #[case("sl1-aaaaaa-aaaaaaaa-aaaaaaaaa1-htjz4")]
    #[case("sl1-aaaaaa-aaaaaaaa-aaaaaaaaaa-")]
    #[case("sl1-aaaaaa-aaaaaaaa-aaaaaaaaaa-HTJZ4")]
    #[case("sl1-aaaaaa-aaaaaaaa-aaaaaaaaaa-+1")]
    #[case("sl1-aaaaaa-aaaaaaaa-aaaaaaaaaa-01")]
    #[case("sl1-aaaaaa-aaaaaaaa-aaaaaaaaaa-3w5e11264sgsf")]
    #[case("sl1-aaaaaa-aaaaaaaa-aaaaaaaaaa-htjz4-x")]
    #[case("SL1-aaaaaa-aaaaaaaa-aaaaaaaaaa-htjz4")]
    #[case("xsl1-aaaaaa-aaaaaaaa-aaaaaaaaaa-htjz4")]
    fn a_name_that_we_did_not_make_is_nobody_s(#[case] name: &str) {
        assert_eq!(Name::parse(&Tag::new(name)), None);
    }

    proptest! {
        #[test]
        fn a_name_reads_back_as_it_was_made(now in 0_u64..1 << 40, life in 0_u64..1 << 30) {
            let (now, life) = (Duration::from_secs(now), Duration::from_secs(life));
            let name = Name::new(&host(), &Owner::random(), now, life);
            prop_assert_eq!(Name::parse(&name.tag()), Some(name));
        }

        #[test]
        fn any_text_can_be_read(text: String) {
            let tag = Tag::new(text);
            if let Some(name) = Name::parse(&tag) {
                prop_assert_eq!(name.tag(), tag);
            }
        }
    }
}

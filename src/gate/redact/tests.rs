//! Disguises, splits and harmless texts. Secrets are made at run time.

mod stream;

use std::fmt::Write as _;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use proptest::prelude::*;
use rstest::rstest;
use secrecy::SecretString;

use super::*;

const SYMBOLS: &str = "!#$%&()*+,-./:;<=>?@[]^_{|}~\\\"'";
const ALNUM: &str = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";

/// A small generator, so that a failing case is one number.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        // splitmix64
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, n: usize) -> usize {
        usize::try_from(self.next() % u64::try_from(n).unwrap()).unwrap()
    }

    fn bytes(&mut self, n: usize) -> Vec<u8> {
        (0..n).map(|_| self.next().to_le_bytes()[3]).collect()
    }

    /// Letters and digits, or those mixed with symbols, or digits and small letters as in a hexadecimal key.
    fn secret(&mut self, length: usize) -> String {
        let alphabet: Vec<char> = match self.below(3) {
            0 => ALNUM.chars().collect(),
            1 => ALNUM.chars().chain(SYMBOLS.chars()).collect(),
            _ => "0123456789abcdef".chars().collect(),
        };
        (0..length)
            .map(|_| alphabet[self.below(alphabet.len())])
            .collect()
    }
}

fn redactor(secrets: &[&str]) -> Redactor {
    let known: Vec<KnownSecret> = secrets
        .iter()
        .map(|value| KnownSecret {
            kind: "token",
            value: SecretString::from((*value).to_owned()),
        })
        .collect();
    Redactor::new(&known)
}

fn base64_after(secret: &str, before: usize, url: bool) -> String {
    let mut bytes = vec![b'x'; before];
    bytes.extend_from_slice(secret.as_bytes());
    bytes.extend_from_slice(b"\nand more");
    if url {
        URL_SAFE_NO_PAD.encode(bytes)
    } else {
        STANDARD.encode(bytes)
    }
}

fn each(secret: &str, mut write: impl FnMut(&mut String, char)) -> String {
    secret.chars().fold(String::new(), |mut text, c| {
        write(&mut text, c);
        text
    })
}

fn percent(text: &mut String, c: char) {
    for byte in c.encode_utf8(&mut [0; 4]).bytes() {
        write!(text, "%{byte:02X}").unwrap();
    }
}

fn hex(secret: &str) -> String {
    secret.bytes().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").unwrap();
        text
    })
}

/// A disguise, and the text of which nothing longer than 11 characters may remain.
fn disguised(secret: &str, which: &str) -> String {
    match which {
        "plain" => secret.to_owned(),
        "base64" => base64_after(secret, 0, false),
        "base64 after one" => base64_after(secret, 1, false),
        "base64 after two" => base64_after(secret, 2, false),
        "url base64" => base64_after(secret, 3, true),
        "url base64 after one" => base64_after(secret, 4, true),
        "hex" => hex(secret),
        "HEX" => hex(secret).to_uppercase(),
        "hex with spaces" => each(secret, |t, c| write!(t, "{:02x} ", u32::from(c)).unwrap()),
        "percent needed" => each(secret, |t, c| {
            if c.is_ascii_alphanumeric() {
                t.push(c);
            } else {
                percent(t, c);
            }
        }),
        "percent all" => each(secret, percent),
        "json" => serde_json::to_string(secret).unwrap(),
        "json slashes" => serde_json::to_string(secret).unwrap().replace('/', "\\/"),
        "json all" => each(secret, |t, c| write!(t, "\\u{:04x}", u32::from(c)).unwrap()),
        "reversed" => secret.chars().rev().collect(),
        "dashes" => each(secret, |t, c| write!(t, "{c}-").unwrap()),
        "one per line" => each(secret, |t, c| writeln!(t, "{c}").unwrap()),
        "one per CRLF line" => each(secret, |t, c| write!(t, "{c}\r\n").unwrap()),
        "upper case" => secret.to_uppercase(),
        "lower case" => secret.to_lowercase(),
        "colours" => each(secret, |t, c| write!(t, "\x1b[31m{c}\x1b[0m").unwrap()),
        "zero width" => each(secret, |t, c| write!(t, "{c}\u{200b}").unwrap()),
        "base64 in lines" => {
            let encoded = base64_after(secret, 0, false);
            encoded
                .as_bytes()
                .chunks(8)
                .fold(String::new(), |mut t, c| {
                    writeln!(t, "{}", String::from_utf8_lossy(c)).unwrap();
                    t
                })
        }
        other => panic!("{other}"),
    }
}

/// Whether 12 characters in a row of `secret` can be read in `text`, letters and digits only.
fn readable(text: &str, secret: &str) -> bool {
    let (text, secret) = (
        forms::squeeze(text.as_bytes()),
        forms::squeeze(secret.as_bytes()),
    );
    secret
        .windows(12.min(secret.len()).max(1))
        .any(|w| text.windows(w.len()).any(|t| t == w))
}

#[rstest]
fn every_disguise_becomes_a_placeholder(
    #[values(
        "plain",
        "base64",
        "base64 after one",
        "base64 after two",
        "url base64",
        "url base64 after one",
        "hex",
        "HEX",
        "hex with spaces",
        "percent needed",
        "percent all",
        "json",
        "json slashes",
        "json all",
        "reversed",
        "dashes",
        "one per line",
        "one per CRLF line",
        "upper case",
        "lower case",
        "colours",
        "zero width",
        "base64 in lines"
    )]
    which: &str,
) {
    let mut random = Random(7);
    for _ in 0..200 {
        let length = 16 + random.below(60);
        let secret = random.secret(length);
        let redactor = redactor(&[&secret]);
        let text = format!("before {} after", disguised(&secret, which));
        let seen = redactor.redact(&text);
        let context = || format!("{which} of {secret:?} in {text:?} gave {:?}", seen.as_str());
        assert!(!seen.counts().is_empty(), "{}", context());
        assert!(!readable(seen.as_str(), &secret), "{}", context());
        assert!(seen.as_str().starts_with("before "), "{}", context());
        assert!(seen.as_str().ends_with(" after"), "{}", context());
        // What hexadecimal and base64 leave at the ends.
        let left = seen
            .as_str()
            .len()
            .saturating_sub("before  after«redacted:token:1a2b»".len());
        assert!(left < 40, "{}", context());
    }
}

#[test]
fn halves_and_cuts_of_twelve_characters_go_too() {
    let mut random = Random(11);
    for _ in 0..200 {
        let length = 24 + random.below(40);
        let secret = random.secret(length);
        let from = random.below(length - 12);
        let piece: String = secret.chars().skip(from).take(12).collect();
        let seen = redactor(&[&secret]).redact(&format!("<{piece}>"));
        assert!(
            seen.as_str().starts_with("<«redacted:token:"),
            "{piece:?} of {secret:?}"
        );
    }
}

#[test]
fn symbols_one_per_line_are_found_although_they_are_no_letters() {
    let secret = "!#$%&*+?@^~|<>=;aB3";
    let seen = redactor(&[secret]).redact(&disguised(secret, "one per line"));
    assert_eq!(seen.counts()[0].count, 1);
}

#[rstest]
#[case::too_far_apart(&"\n".repeat(300), false)]
#[case::near(&"\n".repeat(200), true)]
fn separators_count_up_to_a_screens_width(#[case] between: &str, #[case] found: bool) {
    let secret = "clearlyFakeSecret9";
    let text = each(secret, |t, c| write!(t, "{c}{between}").unwrap());
    assert_eq!(
        !redactor(&[secret]).redact(&text).counts().is_empty(),
        found
    );
}

#[test]
fn a_short_secret_is_found_as_it_is_only() {
    let redactor = redactor(&["pa55word!"]);
    assert!(
        redactor
            .redact("x=pa55word!;")
            .as_str()
            .starts_with("x=«redacted:token:")
    );
    for harmless in ["pa55word", "p-a-5-5-w-o-r-d-!", "!drow55ap"] {
        assert_eq!(redactor.redact(harmless).as_str(), harmless);
    }
}

#[test]
fn one_tag_for_every_form_and_another_for_another_secret() {
    let redactor = redactor(&["clearly-fake-secret-A", "other-fake-password-B"]);
    let text = format!(
        "clearly-fake-secret-A {} other-fake-password-B",
        hex("clearly-fake-secret-A")
    );
    let seen = redactor.redact(&text);
    let counts: Vec<u64> = seen.counts().iter().map(|r| r.count).collect();
    assert_eq!(counts, [2, 1]);
    assert_ne!(seen.counts()[0].tag, seen.counts()[1].tag);
}

#[test]
fn overlapping_secrets_leave_nothing_between() {
    // The family of cases in which a masker per secret lets a tail out.
    let long = "prefix-of-fake-secret-with-tail";
    let redactor = redactor(&["prefix-of-fake-secret", long, "aab-aab-aab-aac-aab"]);
    let seen = redactor.redact(&format!("[{long}] [aab-aab-aab-aab-aac-aab]"));
    assert!(!seen.as_str().contains("tail"), "{seen}");
    assert_eq!(seen.as_str().matches("aac").count(), 0, "{seen}");
}

#[test]
fn a_redacted_text_is_not_redacted_again() {
    let secret = "clearly-fake-secret-1234";
    let redactor = redactor(&[secret]);
    let once = redactor.redact(&format!("a {secret} b {} c", hex(secret)));
    let twice = redactor.redact(once.as_str());
    assert_eq!(once.as_str(), twice.as_str());
    assert!(twice.counts().is_empty());
}

#[test]
fn a_secret_spread_over_neighbours_goes_from_each() {
    let secret = "clearlyFakeSecret9";
    let mut cells: Vec<String> = secret.chars().map(String::from).collect();
    cells.push("harmless".to_owned());
    let mut texts: Vec<&mut String> = cells.iter_mut().collect();
    assert_eq!(
        redactor(&[secret]).redact_neighbours(&mut texts)[0].count,
        18
    );
    assert_eq!(cells.pop().unwrap(), "harmless");
    assert!(
        cells
            .iter()
            .all(|cell| cell.starts_with("«redacted:token:")),
        "{cells:?}"
    );
}

#[test]
fn what_all_tokens_of_an_issuer_share_is_no_secret() {
    let header = URL_SAFE_NO_PAD.encode(r#"{"typ":"JWT","alg":"RS256","kid":"fake"}"#);
    let mut random = Random(3);
    let (payload, signature) = (random.bytes(60), random.bytes(60));
    let token = format!(
        "{header}.{}.{}",
        URL_SAFE_NO_PAD.encode(payload),
        URL_SAFE_NO_PAD.encode(signature)
    );
    let redactor = redactor(&[&token]);
    let other = format!("{header}.{}", URL_SAFE_NO_PAD.encode(random.bytes(60)));
    assert_eq!(redactor.redact(&other).as_str(), other);
    let signature = token.rsplit('.').next().unwrap();
    assert!(!redactor.redact(signature).counts().is_empty());
    let seen = redactor.redact(&format!("Bearer {token}."));
    assert!(seen.as_str().ends_with("»."), "{seen}");
}

#[test]
fn a_hundred_tokens_take_less_than_ten_megabytes() {
    let mut random = Random(9);
    let tokens: Vec<String> = (0..100).map(|_| random.secret(1500)).collect();
    let tokens: Vec<&str> = tokens.iter().map(String::as_str).collect();
    let redactor = redactor(&tokens);
    let size = redactor.exact.size() + redactor.squeezed.size() + redactor.tight.size();
    assert!(size < 10_000_000, "{size}");
}

/// The sources of this crate: ordinary text with much code in it.
fn sources() -> String {
    let mut text = String::new();
    let mut folders = vec![std::path::PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("src")];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.ends_with("__pycache__") {
                // Python's compiled files, where somebody ran the sources.
            } else if path.is_dir() {
                folders.push(path);
            } else if path
                .extension()
                .is_some_and(|ending| ending == "rs" || ending == "py")
            {
                text.push_str(&std::fs::read_to_string(path).unwrap());
            }
        }
    }
    text
}

#[test]
fn harmless_texts_are_not_touched() {
    let mut random = Random(5);
    let mut secrets: Vec<String> = (0..60).map(|i| random.secret(12 + i)).collect();
    secrets.push(random.secret(8));
    let secrets: Vec<&str> = secrets.iter().map(String::as_str).collect();
    let redactor = redactor(&secrets);

    let mut uuids = String::new();
    let mut dump = String::new();
    let mut numbers = String::new();
    for row in 0..3000 {
        writeln!(uuids, "{row},{}", uuid::Uuid::new_v4()).unwrap();
        writeln!(dump, "{:08x}  {:02x?}", row * 16, random.bytes(16)).unwrap();
        writeln!(
            numbers,
            "{},{}.{:02}",
            random.next(),
            random.below(1_000_000),
            row % 100
        )
        .unwrap();
    }
    let mut png = b"\x89PNG\r\n\x1a\n".to_vec();
    png.extend(random.bytes(100_000));
    for text in [sources(), uuids, dump, numbers, STANDARD.encode(&png)] {
        let seen = redactor.redact(&text);
        assert!(seen.as_str() == text, "touched: {:?}", seen.counts());
    }
    assert!(!redactor.shows(&png));
    png.extend_from_slice(secrets[3].as_bytes());
    assert!(redactor.shows(&png));
}

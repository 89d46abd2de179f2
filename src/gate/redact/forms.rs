//! The forms in which a secret can stand in a text. How they are found is in `known.rs`.
//!
//! A form is looked for in one space. Hexadecimal and base64 live in the squeezed space alone: it forgets case, the
//! two base64 alphabets, line breaks and percent signs, so that one form stands for a dozen disguises.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;

use super::view::{View, unescape_all};

/// Characters of a secret that must stand together to count as the secret: shorter pieces occur by chance.
pub(super) const WINDOW: usize = 12;

/// Bytes that the index looks at once.
pub(super) const GRAM: usize = 8;

/// Hexadecimal digits that must stand together: eight characters of the secret. Twelve digits would be six
/// characters, which ordinary dumps of text share with a password.
const HEX_WINDOW: usize = 16;

/// Where a form is looked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Space {
    /// In the text itself and with its escapes undone.
    Exact,
    /// Among letters and digits only, without case.
    Squeezed,
    /// Without white space and case.
    Tight,
}

/// One form of one secret.
pub(super) struct Form {
    pub(super) space: Space,
    pub(super) bytes: Vec<u8>,
    /// How many bytes must stand together.
    pub(super) min_run: usize,
    /// So many bytes at the front are shared with others (the header of a JWT) and do not count alone.
    pub(super) public: usize,
}

/// Every form of `secret`. Below [`WINDOW`] characters only itself: disguises of a short word occur by chance.
pub(super) fn forms_of(secret: &str) -> Vec<Form> {
    let bytes = secret.as_bytes();
    let mut forms = Forms::default();
    if secret.chars().count() < WINDOW {
        forms.add(Space::Exact, bytes.to_vec(), bytes.len(), 0);
        return forms.made;
    }
    let public = jwt_header(secret);
    let reversed: String = secret.chars().rev().collect();

    forms.add(Space::Exact, bytes.to_vec(), WINDOW, public);
    forms.add(Space::Exact, reversed.as_bytes().to_vec(), WINDOW, 0);
    // What the view with undone escapes makes of the secret, where the secret itself looks escaped.
    forms.add(Space::Exact, unescape_all(bytes), WINDOW, public);
    for json in json_forms(secret) {
        forms.add(Space::Exact, json, WINDOW, public);
    }
    for percent in percent_forms(bytes) {
        forms.add(Space::Exact, percent, WINDOW, public);
    }

    let squeezed = squeeze(bytes);
    if squeezed.len() < WINDOW {
        forms.add(Space::Tight, tighten(bytes), WINDOW, public);
        forms.add(Space::Tight, tighten(reversed.as_bytes()), WINDOW, 0);
    }
    let public_squeezed = squeeze(bytes.get(..public).unwrap_or_default()).len();
    forms.add(Space::Squeezed, squeezed, WINDOW, public_squeezed);
    forms.add(Space::Squeezed, squeeze(reversed.as_bytes()), WINDOW, 0);
    forms.add(Space::Squeezed, hex(bytes), HEX_WINDOW, public * 2);
    for shift in 0..3 {
        let all = base64_at(bytes, shift);
        let public = squeeze(all.get(..public * 4 / 3).unwrap_or_default()).len();
        forms.add(Space::Squeezed, squeeze(&all), WINDOW, public);
    }
    forms.made
}

#[derive(Default)]
struct Forms {
    made: Vec<Form>,
}

impl Forms {
    fn add(&mut self, space: Space, bytes: Vec<u8>, min_run: usize, public: usize) {
        let known = |form: &Form| form.space == space && form.bytes == bytes;
        if bytes.len() >= GRAM && !self.made.iter().any(known) {
            self.made.push(Form {
                space,
                min_run: min_run.min(bytes.len()),
                public: if public < bytes.len() { public } else { 0 },
                bytes,
            });
        }
    }
}

/// Letters and digits in lower case.
pub(super) fn squeeze(bytes: &[u8]) -> Vec<u8> {
    View::raw(bytes).squeezed().bytes.into_owned()
}

fn tighten(bytes: &[u8]) -> Vec<u8> {
    View::raw(bytes).tight().bytes.into_owned()
}

/// Lower case.
fn hex(bytes: &[u8]) -> Vec<u8> {
    let digit = |nibble: u8| char::from_digit(u32::from(nibble), 16).map_or(b'0', |c| c as u8);
    bytes
        .iter()
        .flat_map(|byte| [digit(byte >> 4), digit(byte & 15)])
        .collect()
}

/// The characters that `bytes` alone decide when `shift` other bytes stand before them and any after.
fn base64_at(bytes: &[u8], shift: usize) -> Vec<u8> {
    let mut shifted = vec![0; shift];
    shifted.extend_from_slice(bytes);
    let encoded = STANDARD_NO_PAD.encode(&shifted).into_bytes();
    let first = (shift * 8).div_ceil(6);
    let last = shifted.len() * 8 / 6;
    encoded.get(first..last).unwrap_or_default().to_vec()
}

/// As JSON writers spell it: plain, with `\/`, and with everything beyond ASCII escaped.
fn json_forms(secret: &str) -> [Vec<u8>; 3] {
    let plain = serde_json::to_string(secret).unwrap_or_default();
    let plain = plain.trim_start_matches('"');
    let plain = plain.strip_suffix('"').unwrap_or(plain);
    let mut ascii = String::new();
    for c in plain.chars() {
        if c.is_ascii() {
            ascii.push(c);
        } else {
            let mut units = [0; 2];
            for unit in c.encode_utf16(&mut units) {
                ascii.push_str(&format!("\\u{unit:04x}"));
            }
        }
    }
    [
        plain.as_bytes().to_vec(),
        plain.replace('/', "\\/").into_bytes(),
        ascii.into_bytes(),
    ]
}

/// With the needed characters escaped, in both cases. Every byte escaped is hexadecimal in the squeezed space.
fn percent_forms(bytes: &[u8]) -> [Vec<u8>; 2] {
    let encode = |upper: bool| {
        let mut text = Vec::new();
        for byte in bytes {
            if byte.is_ascii_alphanumeric() || b"-_.~".contains(byte) {
                text.push(*byte);
            } else if upper {
                text.extend_from_slice(format!("%{byte:02X}").as_bytes());
            } else {
                text.extend_from_slice(format!("%{byte:02x}").as_bytes());
            }
        }
        text
    };
    [encode(true), encode(false)]
}

/// How many bytes at the front are a JWT's header, which is the same for all tokens of an issuer; 0 if it is none.
fn jwt_header(secret: &str) -> usize {
    let mut segments = secret.split('.');
    match (segments.next(), segments.next(), segments.next()) {
        (Some(header), Some(_), Some(_)) if header.starts_with("eyJ") => header.len() + 1,
        _ => 0,
    }
}

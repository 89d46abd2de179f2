//! A text in pieces is redacted as the whole is.

use super::*;

/// A text in which secrets, disguises, pieces of them and noise follow each other.
fn mixed(random: &mut Random, secrets: &[String]) -> String {
    let disguises = [
        "plain",
        "base64",
        "hex",
        "json",
        "reversed",
        "one per line",
        "colours",
        "percent needed",
        "json all",
        "upper case",
    ];
    let noise = [
        "\\", "%", "\x1b[3", "\x1b]0;t", "é", "\u{200b}", "\n", " ", "x", "%4", "\\u00", "a1", "«",
    ];
    let mut text = String::new();
    for _ in 0..random.below(8) {
        let secret = &secrets[random.below(secrets.len())];
        let whole = disguised(secret, disguises[random.below(disguises.len())]);
        let length = whole.chars().count();
        match random.below(3) {
            0 => text.push_str(&whole),
            1 => text.extend(whole.chars().take(random.below(length))),
            _ => text.extend(whole.chars().skip(random.below(length))),
        }
        for _ in 0..random.below(4) {
            text.push_str(noise[random.below(noise.len())]);
        }
    }
    text
}

fn streamed(redactor: &Redactor, pieces: &[&str]) -> String {
    let mut stream = RedactStream::default();
    let mut seen = String::new();
    for piece in pieces {
        seen.push_str(stream.push(redactor, piece).as_str());
    }
    seen.push_str(stream.finish(redactor).as_str());
    seen
}

proptest! {
    #[test]
    fn every_split_of_a_stream_shows_what_the_whole_shows(seed: u64) {
        let mut random = Random(seed);
        let secrets: Vec<String> = (0..3).map(|i| {
            let length = 8 + i * 8 + random.below(8);
            random.secret(length)
        }).collect();
        let known: Vec<&str> = secrets.iter().map(String::as_str).collect();
        let redactor = redactor(&known);
        let text = mixed(&mut random, &secrets);
        let whole = redactor.redact(&text);
        for (at, _) in text.char_indices() {
            let (front, rest) = text.split_at(at);
            let seen = streamed(&redactor, &[front, rest]);
            prop_assert!(seen == whole.as_str(), "split at {at} of {text:?} with {known:?}:\n{seen:?}\n{:?}", whole.as_str());
        }
        let mut buffer = [0; 4];
        let mut stream = RedactStream::default();
        let mut seen = String::new();
        for c in text.chars() {
            seen.push_str(stream.push(&redactor, c.encode_utf8(&mut buffer)).as_str());
            prop_assert!(whole.as_str().starts_with(&seen));
        }
        seen.push_str(stream.finish(&redactor).as_str());
        prop_assert_eq!(seen.as_str(), whole.as_str());
    }

    #[test]
    fn a_repetitive_stream_shows_what_the_whole_shows(text in "[ab]{0,40}", split in 0usize..40) {
        let redactor = redactor(&["aababaab", "abaababaabaab", "aabaabaabaabaabb"]);
        let split = split.min(text.len());
        let (front, rest) = text.split_at(split);
        prop_assert_eq!(streamed(&redactor, &[front, rest]), redactor.redact(&text).into_string());
    }

    #[test]
    fn any_text_is_read_without_trouble(text in "\\PC*|(?s).*", at in 0usize..100) {
        let redactor = redactor(&["clearly-fake-secret-1"]);
        let seen = redactor.redact(&text);
        prop_assert_eq!(seen.as_str(), &text);
        prop_assert!(text.is_char_boundary(cut_place(&text, at)));
    }
}

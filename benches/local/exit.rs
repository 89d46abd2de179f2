//! How fast the exit takes known secrets out of ordinary text, beside one automaton that knows their plain forms only.

use std::fmt::Write as _;
use std::hint::black_box;
use std::time::Instant;

use aho_corasick::AhoCorasick;
use sparklease::model::SecretRegistry;

use crate::Result;
use crate::measure::{Report, Sample};

const BYTES: usize = 1_000_000;
const SECRETS: usize = 20;
const ROUNDS: usize = 25;

/// Pseudo-random numbers that are the same in each run: xorshift64.
struct Numbers(u64);

impl Numbers {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn token(&mut self) -> String {
        // 40 characters, as many tokens have.
        let mut token = String::new();
        while token.len() < 40 {
            let _ = write!(token, "{:x}", self.next());
        }
        token.truncate(40);
        token
    }
}

/// A megabyte as results have it: names, numbers, dates and words, with each secret once.
fn text(secrets: &[String], numbers: &mut Numbers) -> String {
    const WORDS: [&str; 8] = [
        "orders",
        "delivered to",
        "Lyon",
        "the customer",
        "returned",
        "Berlin",
        "priority",
        "late",
    ];
    let mut text = String::with_capacity(BYTES + 200);
    let mut secrets = secrets.iter();
    let mut next_secret = BYTES / (2 * SECRETS);
    while text.len() < BYTES {
        let word = |n: u64| usize::try_from(n % 8).ok().and_then(|n| WORDS.get(n));
        let (a, b) = (numbers.next(), numbers.next());
        let _ = writeln!(
            text,
            "{},{} {},{}.{:02},2026-11-{:02}",
            a % 1_000_000,
            word(a >> 20).unwrap_or(&""),
            word(b >> 20).unwrap_or(&""),
            b % 10_000,
            b % 100,
            1 + a % 28
        );
        if text.len() > next_secret {
            next_secret += BYTES / SECRETS;
            text.push_str(secrets.next().map_or("", String::as_str));
        }
    }
    text
}

/// Measures both by turns; also a plain copy, which is as fast as memory.
pub(crate) fn measure(report: &mut Report) -> Result<()> {
    let mut numbers = Numbers(0x5eed_5eed_5eed_5eed);
    let secrets: Vec<String> = (0..SECRETS).map(|_| numbers.token()).collect();
    let registry = SecretRegistry::default();
    for secret in &secrets {
        registry.register("token", secret);
    }
    let redact = sparklease::cli::redactor(registry);
    let automaton = AhoCorasick::new(&secrets)?;
    let replacements = vec!["«redacted:token»"; SECRETS];
    let ascii = text(&secrets, &mut numbers);
    for (name, text) in [
        ("accents", ascii.replace("Lyon", "Orléans")),
        ("escapes", ascii.replace("Lyon", "Orl\\u00e9ans")),
        ("ASCII", ascii),
    ] {
        let (mut ours, mut plain, mut copy) =
            (Sample::default(), Sample::default(), Sample::default());
        for _ in 0..ROUNDS {
            let begun = Instant::now();
            let clean = redact(black_box(&text));
            ours.add(begun.elapsed());
            if clean.matches("«redacted:token:").count() != SECRETS
                || secrets.iter().any(|secret| clean.contains(secret))
            {
                return Err("the exit let a secret pass".into());
            }
            let begun = Instant::now();
            black_box(automaton.replace_all(black_box(&text), &replacements));
            plain.add(begun.elapsed());
            let begun = Instant::now();
            black_box(black_box(&text).clone());
            copy.add(begun.elapsed());
        }
        let what = format!("exit: 1 MB, {SECRETS} secrets, {name}");
        report.pair(&what, &ours, ("Aho-Corasick, plain forms", &plain));
        report.pair(&what, &ours, ("a copy", &copy));
        report.value(
            &format!("exit: {name}"),
            format!("{:.0} MB/s", 1e-6 * text.len() as f64 / ours.p50()),
            String::new(),
        );
    }
    Ok(())
}

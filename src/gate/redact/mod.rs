//! Takes known secrets out of texts: every place that shows one, in any form of `forms.rs`, becomes one placeholder.
//! Limits, rendering and the escaping of control characters are not here.
//!
//! # Why not an automaton over all forms
//! A leftmost-longest automaton finds whole forms only, not halves and cuts, and each twelve-character window as a
//! pattern of its own would be thousands of patterns per token. See `known.rs` for what stands instead.

mod forms;
mod known;
mod stream;
mod tag;
#[cfg(test)]
mod tests;
mod view;

use secrecy::ExposeSecret;

pub(crate) use stream::RedactStream;

use crate::model::KnownSecret;
use forms::Space;
use known::{Grams, Hit};
use tag::Key;
use view::View;

/// How every placeholder begins; what follows is `kind:4hex»`.
const PLACEHOLDER_START: &str = "«redacted:";

/// The longest placeholder that a cut respects, in bytes; a text that only begins like one is cut anywhere.
const PLACEHOLDER_MAX: usize = 64;

/// How often one secret was taken out.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub(crate) struct Redaction {
    /// `token`, `password`, `env`, …
    pub(crate) kind: &'static str,
    /// The four digits of its placeholder: the same for the same secret in every form, while the process lives.
    pub(crate) tag: String,
    /// Places.
    pub(crate) count: u64,
}

/// A text that shows no known secret. Only the gate builds it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Redacted {
    text: String,
    counts: Vec<Redaction>,
}

impl Redacted {
    /// The text.
    pub(crate) fn as_str(&self) -> &str {
        &self.text
    }

    /// What was put together from redacted parts, where they were counted already.
    pub(in crate::gate) fn of(text: String) -> Self {
        Self {
            text,
            counts: Vec::new(),
        }
    }

    /// The text, owned.
    pub(crate) fn into_string(self) -> String {
        self.text
    }

    /// What was taken out, and how often.
    pub(crate) fn counts(&self) -> &[Redaction] {
        &self.counts
    }

    /// The same with another spelling of characters, which cannot make a secret appear.
    pub(in crate::gate) fn map(self, spell: impl FnOnce(&str) -> String) -> Self {
        Self {
            text: spell(&self.text),
            counts: self.counts,
        }
    }
}

impl std::fmt::Display for Redacted {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.text)
    }
}

/// How many bytes the ANSI sequence at the front of `rest` has; `None` if there is none, or only its beginning.
pub(in crate::gate) fn ansi_len(rest: &[u8]) -> Option<usize> {
    view::ansi_len(rest)
}

/// Adds `more` to `counts`, one entry per secret.
pub(crate) fn add_counts(counts: &mut Vec<Redaction>, more: &[Redaction]) {
    for redaction in more {
        let same = |r: &&mut Redaction| r.kind == redaction.kind && r.tag == redaction.tag;
        match counts.iter_mut().find(same) {
            Some(known) => known.count += redaction.count,
            None => counts.push(redaction.clone()),
        }
    }
}

/// A place to replace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Range {
    start: usize,
    end: usize,
    secret: usize,
}

/// What a placeholder says.
struct Label {
    kind: &'static str,
    tag: String,
    placeholder: String,
}

/// The forms of all secrets that were known when it was built.
pub(in crate::gate) struct Redactor {
    labels: Vec<Label>,
    exact: Grams,
    squeezed: Grams,
    tight: Grams,
}

impl Redactor {
    /// Builds the tables; some milliseconds for a hundred tokens.
    pub(in crate::gate) fn new(secrets: &[KnownSecret]) -> Self {
        let key = Key::of_process();
        let mut labels = Vec::new();
        let mut all = Vec::new();
        for (index, secret) in secrets.iter().enumerate() {
            let value = secret.value.expose_secret();
            let tag = key.tag(value);
            labels.push(Label {
                kind: secret.kind,
                placeholder: format!("{PLACEHOLDER_START}{}:{tag}»", secret.kind),
                tag,
            });
            all.extend(forms::forms_of(value).into_iter().map(|form| (index, form)));
        }
        Self {
            labels,
            exact: Grams::new(Space::Exact, &mut all),
            squeezed: Grams::new(Space::Squeezed, &mut all),
            tight: Grams::new(Space::Tight, &mut all),
        }
    }

    /// How many secrets it knows.
    pub(in crate::gate) fn len(&self) -> usize {
        self.labels.len()
    }

    /// The text with each secret replaced.
    pub(in crate::gate) fn redact(&self, text: &str) -> Redacted {
        if self.labels.is_empty() {
            return self.replace(text, &[]);
        }
        self.replace(text, &self.ranges(text, &self.views(text)))
    }

    /// Texts that are read one after the other: a secret that is spread over several is found too, and each piece
    /// replaced where it stands.
    pub(in crate::gate) fn redact_neighbours(&self, texts: &mut [&mut String]) -> Vec<Redaction> {
        if self.labels.is_empty() {
            return Vec::new();
        }
        let mut joined = String::with_capacity(texts.iter().map(|t| t.len() + 1).sum());
        let mut starts = Vec::with_capacity(texts.len());
        for text in texts.iter() {
            starts.push(joined.len());
            joined.push_str(text);
            joined.push('\n');
        }
        let ranges = self.ranges(&joined, &self.views(&joined));
        let mut counts = Vec::new();
        if ranges.is_empty() {
            return counts;
        }
        for (text, start) in texts.iter_mut().zip(&starts) {
            let end = start + text.len();
            let first = ranges.partition_point(|range| range.end <= *start);
            let inside: Vec<Range> = ranges
                .iter()
                .skip(first)
                .take_while(|range| range.start < end)
                .map(|range| Range {
                    start: range.start.max(*start) - start,
                    end: range.end.min(end) - start,
                    secret: range.secret,
                })
                .filter(|range| range.start < range.end)
                .collect();
            if !inside.is_empty() {
                let redacted = self.replace(text, &inside);
                add_counts(&mut counts, &redacted.counts);
                **text = redacted.text;
            }
        }
        counts
    }

    /// Whether the bytes of a file show a secret as it is, or reversed or escaped.
    pub(in crate::gate) fn shows(&self, bytes: &[u8]) -> bool {
        let mut hits = Vec::new();
        self.exact.find(&View::raw(bytes), &mut hits);
        !hits.is_empty()
    }

    /// The front of a text that may go on: nothing that follows can change how it is redacted. An end of fewer than
    /// `min_tail` characters that a secret could begin with is not held back; with 1, the fronts of a growing text
    /// are fronts of the redacted whole.
    fn settled(&self, text: &str, ranges: &[Range], views: &Views<'_>, min_tail: usize) -> usize {
        let mut settled = text.len();
        for view in views.exact() {
            settled = settled.min(view.open.unwrap_or(usize::MAX));
        }
        for (grams, view) in self.searches(views) {
            if let Some(open) = grams.open_tail(view, min_tail) {
                settled = settled.min(open);
            }
        }
        loop {
            let before = settled;
            for view in views.exact() {
                settled = view.boundary(settled);
            }
            while !text.is_char_boundary(settled) {
                settled -= 1;
            }
            for range in ranges.iter().rev() {
                // One that touches the end may go on, or merge with the next.
                if range.start < settled && settled <= range.end {
                    settled = range.start;
                }
            }
            if settled == before {
                return settled;
            }
        }
    }

    /// The settled front of a running text, redacted, and how many bytes are held back.
    pub(in crate::gate) fn redact_running(&self, text: &str, min_tail: usize) -> (Redacted, usize) {
        if self.labels.is_empty() {
            return (self.replace(text, &[]), 0);
        }
        let views = self.views(text);
        let ranges = self.ranges(text, &views);
        let settled = self.settled(text, &ranges, &views, min_tail);
        let front = text.get(..settled).unwrap_or_default();
        let ranges: Vec<Range> = ranges.into_iter().filter(|r| r.end <= settled).collect();
        (self.replace(front, &ranges), text.len() - settled)
    }

    /// The views in which there is something to look for.
    fn views<'a>(&self, text: &'a str) -> Views<'a> {
        let raw = View::raw(text.as_bytes());
        let decoded = raw.decoded();
        let both = |wanted: &Grams| {
            let wanted = !wanted.is_empty();
            std::iter::once(&raw)
                .chain(&decoded)
                .filter(move |_| wanted)
        };
        Views {
            squeezed: both(&self.squeezed).map(View::squeezed).collect(),
            tight: both(&self.tight).map(View::tight).collect(),
            decoded,
            raw,
        }
    }

    fn searches<'v, 'a>(
        &'v self,
        views: &'v Views<'a>,
    ) -> impl Iterator<Item = (&'v Grams, &'v View<'a>)> {
        let exact = views.exact().map(|view| (&self.exact, view));
        let squeezed = views.squeezed.iter().map(|view| (&self.squeezed, view));
        let tight = views.tight.iter().map(|view| (&self.tight, view));
        exact.chain(squeezed).chain(tight)
    }

    /// The places to replace, in order, apart from each other.
    fn ranges(&self, text: &str, views: &Views<'_>) -> Vec<Range> {
        let mut hits: Vec<Hit> = Vec::new();
        for (grams, view) in self.searches(views) {
            grams.find(view, &mut hits);
        }
        hits.sort_unstable_by_key(|hit| (hit.start, hit.end, hit.secret));
        let mut ranges: Vec<Range> = Vec::new();
        let mut longest = 0;
        for hit in hits {
            let start = (0..=hit.start).rev().find(|at| text.is_char_boundary(*at));
            let end = (hit.end..=text.len()).find(|at| text.is_char_boundary(*at));
            let (start, end) = (start.unwrap_or(0), end.unwrap_or(text.len()));
            match ranges.last_mut() {
                Some(last)
                    if start < last.end || (start == last.end && hit.secret == last.secret) =>
                {
                    last.end = last.end.max(end);
                    if end - start > longest {
                        longest = end - start;
                        last.secret = hit.secret;
                    }
                }
                _ => {
                    longest = end - start;
                    ranges.push(Range {
                        start,
                        end,
                        secret: hit.secret,
                    });
                }
            }
        }
        ranges
    }

    fn replace(&self, text: &str, ranges: &[Range]) -> Redacted {
        let mut made = String::with_capacity(text.len());
        let mut counts = Vec::new();
        let mut at = 0;
        for range in ranges {
            let Some(label) = self.labels.get(range.secret) else {
                continue;
            };
            made.push_str(text.get(at..range.start).unwrap_or_default());
            made.push_str(&label.placeholder);
            let one = Redaction {
                kind: label.kind,
                tag: label.tag.clone(),
                count: 1,
            };
            add_counts(&mut counts, &[one]);
            at = range.end;
        }
        made.push_str(text.get(at..).unwrap_or_default());
        Redacted { text: made, counts }
    }
}

/// The views of one text.
struct Views<'a> {
    raw: View<'a>,
    decoded: Option<View<'static>>,
    squeezed: Vec<View<'static>>,
    tight: Vec<View<'static>>,
}

impl<'a> Views<'a> {
    fn exact<'v>(&'v self) -> impl Iterator<Item = &'v View<'a>> {
        std::iter::once(&self.raw).chain(self.decoded.as_ref())
    }
}

/// The largest place at or before `at` where `text` can be cut: between characters and not inside a placeholder.
pub(in crate::gate) fn cut_place(text: &str, at: usize) -> usize {
    let mut at = at.min(text.len());
    while !text.is_char_boundary(at) {
        at -= 1;
    }
    let mut from = at.saturating_sub(PLACEHOLDER_MAX);
    while !text.is_char_boundary(from) {
        from += 1;
    }
    let front = text.get(from..at).unwrap_or_default();
    // The start itself may be cut: look for the opening mark.
    let Some(open) = front.rfind('«') else {
        return at;
    };
    let rest = text.get(from + open..).unwrap_or_default();
    let whole = rest.starts_with(PLACEHOLDER_START);
    match rest.find('»') {
        Some(close) if whole && close < PLACEHOLDER_MAX && from + open + close >= at => from + open,
        _ => at,
    }
}

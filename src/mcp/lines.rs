//! Lines that are no Unicode. rmcp drops what it cannot parse, and a client that waits for the answer to such a call
//! waits for ever; so a call is let through without its arguments and with a word on what was wrong.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use serde_json::{Value, json};
use tokio::io::{AsyncRead, ReadBuf};

/// The key in a call's `_meta` under which it says what was wrong with its line.
pub(super) const UNREADABLE: &str = "sparklease/unreadable";

/// Bytes that are read at once.
const CHUNK: usize = 64 * 1024;

/// Input whose lines are looked at before they go on.
pub(super) struct Lines<R> {
    input: R,
    chunk: Box<[u8]>,
    /// The beginning of a line whose end has not come yet.
    line: Vec<u8>,
    /// Complete lines, and how much of them was read.
    ready: Vec<u8>,
    read: usize,
}

impl<R> Lines<R> {
    pub(super) fn new(input: R) -> Self {
        Self {
            input,
            chunk: vec![0; CHUNK].into(),
            line: Vec::new(),
            ready: Vec::new(),
            read: 0,
        }
    }

    /// Takes what was read, and gives out the lines that it completes.
    fn take(&mut self, mut bytes: &[u8]) {
        while let Some(end) = memchr::memchr(b'\n', bytes) {
            let (rest, after) = bytes.split_at(end + 1);
            self.line.extend_from_slice(rest);
            match mended(&self.line) {
                Some(line) => {
                    self.ready.extend_from_slice(line.as_bytes());
                    self.ready.push(b'\n');
                    self.line.clear();
                }
                None if self.ready.is_empty() => std::mem::swap(&mut self.ready, &mut self.line),
                None => self.ready.append(&mut self.line),
            }
            bytes = after;
        }
        self.line.extend_from_slice(bytes);
    }
}

impl<R: AsyncRead + Unpin> AsyncRead for Lines<R> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        loop {
            let left = this.ready.get(this.read..).unwrap_or_default();
            if !left.is_empty() {
                let (now, _) = left.split_at(left.len().min(buffer.remaining()));
                buffer.put_slice(now);
                this.read += now.len();
                return Poll::Ready(Ok(()));
            }
            this.ready.clear();
            this.read = 0;
            let mut chunk = std::mem::take(&mut this.chunk);
            let mut into = ReadBuf::new(&mut chunk);
            let polled = Pin::new(&mut this.input).poll_read(context, &mut into);
            let count = into.filled().len();
            if let Some(bytes) = chunk.get(..count) {
                this.take(bytes);
            }
            this.chunk = chunk;
            ready!(polled)?;
            if count == 0 {
                // The end. A last line without its end is no message; rmcp drops it.
                return Poll::Ready(Ok(()));
            }
        }
    }
}

/// The line to use instead of one that is no Unicode; `None` for all others, and where nothing can be made of it.
fn mended(line: &[u8]) -> Option<String> {
    let (problem, text) = match std::str::from_utf8(line) {
        Err(_) => ("is not UTF-8", String::from_utf8_lossy(line).into_owned()),
        Ok(text) if has_surrogate(line) && serde_json::from_str::<Value>(text).is_err() => {
            ("has half of a surrogate pair", text.to_owned())
        }
        Ok(_) => return None,
    };
    let mut message: Value = serde_json::from_str(&without_halves(&text)).ok()?;
    if message.get("method")? != "tools/call" {
        return Some(message.to_string());
    }
    let params = message.get_mut("params")?.as_object_mut()?;
    let arguments = params.insert("arguments".to_owned(), json!({}));
    let wrong: Vec<String> = arguments
        .as_ref()
        .and_then(Value::as_object)
        .into_iter()
        .flatten()
        .filter(|(_, value)| value.to_string().contains(char::REPLACEMENT_CHARACTER))
        .map(|(name, _)| format!("{name} {problem}"))
        .collect();
    let wrong = if wrong.is_empty() {
        format!("the call {problem}")
    } else {
        wrong.join("; ")
    };
    let meta = params.entry("_meta").or_insert_with(|| json!({}));
    meta.as_object_mut()?
        .insert(UNREADABLE.to_owned(), json!(wrong));
    Some(message.to_string())
}

/// Whether an escape begins that may be one half of a pair.
fn has_surrogate(line: &[u8]) -> bool {
    memchr::memmem::find_iter(line, b"\\u").any(|at| matches!(line.get(at + 2), Some(b'd' | b'D')))
}

/// The text with `\ufffd` in place of each escape that is half of a surrogate pair.
fn without_halves(text: &str) -> String {
    let unit = |at: usize| -> Option<u16> {
        let escape = text.get(at..at + 6)?.strip_prefix("\\u")?;
        u16::from_str_radix(escape, 16).ok()
    };
    let mut mended = String::with_capacity(text.len());
    let mut at = 0;
    while let Some(rest) = text.get(at..).filter(|rest| !rest.is_empty()) {
        let plain = rest.find('\\').unwrap_or(rest.len());
        mended.push_str(rest.get(..plain).unwrap_or_default());
        at += plain;
        let taken = match (unit(at), unit(at + 6)) {
            (Some(0xd800..=0xdbff), Some(0xdc00..=0xdfff)) => 12,
            (Some(0xd800..=0xdfff), _) => {
                mended.push_str("\\ufffd");
                at += 6;
                continue;
            }
            // The backslash and what it escapes, so that `\\u` is no escape.
            _ => text
                .get(at..)
                .map_or(0, |rest| rest.chars().take(2).map(char::len_utf8).sum()),
        };
        mended.push_str(text.get(at..at + taken).unwrap_or_default());
        at += taken;
    }
    mended
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncReadExt;

    use super::*;

    fn call(code: &[u8]) -> Vec<u8> {
        let head = br#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"run_pyspark","arguments":{"wait_s":1,"code":""#;
        [head.as_slice(), code, b"\"}}}\n"].concat()
    }

    #[test]
    fn a_call_that_is_no_unicode_says_which_argument() {
        for (code, wrong) in [
            (b"x = '\xff'".as_slice(), "code is not UTF-8"),
            (br"x = '\ud800'", "code has half of a surrogate pair"),
            (br"x = '\uDC00\ud83d'", "code has half of a surrogate pair"),
        ] {
            let line: Value = serde_json::from_str(&mended(&call(code)).unwrap()).unwrap();
            assert_eq!(
                line["params"],
                json!({"name": "run_pyspark", "arguments": {}, "_meta": {UNREADABLE: wrong}})
            );
            assert_eq!(line["id"], 1);
        }
    }

    #[test]
    fn lines_that_are_unicode_stay_as_they_are() {
        for code in [
            "x = 'é 🦀'".as_bytes(),
            br"x = '\ud83e\udd80'",
            br"x = '\\ud800'",
            br"\\\\",
        ] {
            assert_eq!(mended(&call(code)), None);
        }
        assert_eq!(mended(b"\xff\xfe no json\n"), None);
        assert_eq!(mended(b"\n"), None);
    }

    #[tokio::test]
    async fn lines_come_through_whatever_their_size_and_pieces() {
        let mut all = Vec::new();
        for length in [0, 1, 10, 70_000, 200_000] {
            all.extend(call("a".repeat(length).as_bytes()));
        }
        all.extend_from_slice(b"no end");
        let (mut ours, theirs) = tokio::io::duplex(1000);
        let sent = all.clone();
        tokio::spawn(async move {
            for piece in sent.chunks(777) {
                tokio::io::AsyncWriteExt::write_all(&mut ours, piece)
                    .await
                    .unwrap();
            }
        });
        let mut seen = Vec::new();
        Lines::new(theirs).read_to_end(&mut seen).await.unwrap();
        let complete = all.len() - b"no end".len();
        assert_eq!(seen, all[..complete]);
    }
}

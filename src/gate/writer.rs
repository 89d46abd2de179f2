//! A writer for logs and for what the command line prints: every line is redacted before it goes on.

use std::io::{self, Write};

use super::Gate;
use super::redact::RedactStream;

/// Bytes of one unfinished line that are held: beyond that a line goes out in pieces, as a stream.
const LINE_MAX: usize = 64 * 1024;

/// Redacts whole lines on their way to `inner`. A line that is not finished is held, also over [`Write::flush`]: its
/// end could be the front of a secret. What is left goes out when the writer is dropped.
///
/// Characters that act on a terminal pass, since our own progress bars use them: data is cleaned where it is
/// rendered ([`Gate::text`]). For `tracing_subscriber` a closure makes one writer per record:
/// `.with_writer(move || Writer::new(gate.clone(), io::stderr()))`.
pub(crate) struct Writer<W: Write> {
    gate: Gate,
    inner: W,
    held: Vec<u8>,
    /// Set while a line is too long to be held.
    long: Option<RedactStream>,
}

impl<W: Write> Writer<W> {
    /// A writer in front of `inner`.
    pub(crate) fn new(gate: Gate, inner: W) -> Self {
        Self {
            gate,
            inner,
            held: Vec::new(),
            long: None,
        }
    }

    /// Sends out the first `count` bytes that are held: whole lines, or `to_the_end` whatever there is.
    fn send(&mut self, count: usize, to_the_end: bool) -> io::Result<()> {
        let bytes: Vec<u8> = self.held.drain(..count).collect();
        let text = String::from_utf8_lossy(&bytes);
        let redactor = self.gate.redactor();
        match &mut self.long {
            None => self
                .inner
                .write_all(redactor.redact(&text).as_str().as_bytes()),
            Some(stream) => {
                let front = stream.push(&redactor, &text);
                self.inner.write_all(front.as_str().as_bytes())?;
                if to_the_end {
                    let rest = stream.finish(&redactor);
                    self.long = None;
                    self.inner.write_all(rest.as_str().as_bytes())?;
                }
                Ok(())
            }
        }
    }
}

impl<W: Write> Write for Writer<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.held.extend_from_slice(bytes);
        if let Some(at) = self.held.iter().rposition(|byte| *byte == b'\n') {
            self.send(at + 1, true)?;
        }
        if self.held.len() > LINE_MAX {
            // All but a character that may be cut.
            let whole = match std::str::from_utf8(&self.held) {
                Ok(_) => self.held.len(),
                Err(error) if error.error_len().is_none() => error.valid_up_to(),
                Err(_) => self.held.len(),
            };
            self.long.get_or_insert_default();
            self.send(whole, false)?;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

impl<W: Write> Drop for Writer<W> {
    fn drop(&mut self) {
        if !self.held.is_empty() || self.long.is_some() {
            // Nobody is left to be told.
            let _ = self.send(self.held.len(), true);
        }
        let _ = self.inner.flush();
    }
}

#[cfg(test)]
mod tests {
    use super::super::Limits;
    use super::*;
    use crate::model::SecretRegistry;

    const FAKE: &str = "clearly-Fake-secret-77";

    fn written(pieces: &[&[u8]]) -> Vec<String> {
        let registry = SecretRegistry::default();
        registry.register("token", FAKE);
        let gate = Gate::new(registry, Limits::default());
        let mut out = Vec::new();
        let mut seen = Vec::new();
        let mut writer = Writer::new(gate, &mut out);
        for piece in pieces {
            writer.write_all(piece).unwrap();
            writer.flush().unwrap();
            seen.push(String::from_utf8_lossy(writer.inner).into_owned());
        }
        drop(writer);
        seen.push(String::from_utf8(out).unwrap());
        seen
    }

    #[test]
    fn an_unfinished_line_waits_for_its_end() {
        let seen = written(&[b"one\ntwo clearly-Fa", b"ke-secret-77 three", b"\nfour"]);
        assert_eq!(seen.first().unwrap(), "one\n");
        assert_eq!(seen.get(1).unwrap(), "one\n");
        let last = seen.last().unwrap();
        assert!(last.starts_with("one\ntwo «redacted:token:"), "{last}");
        assert!(last.ends_with("» three\nfour"), "{last}");
    }

    #[test]
    fn a_line_too_long_to_hold_goes_out_in_pieces_that_show_nothing() {
        let filler = "é".repeat(LINE_MAX / 2);
        let text = format!("{filler}{FAKE}{filler}{filler}\nnext\n");
        let pieces: Vec<&[u8]> = text.as_bytes().chunks(LINE_MAX + 7).collect();
        let last = written(&pieces).pop().unwrap();
        assert!(!last.contains("Fake-secret"));
        assert!(last.contains("«redacted:token:"));
        assert_eq!(last.matches('é').count(), LINE_MAX / 2 * 3);
        assert!(last.ends_with("é\nnext\n"));
    }

    #[test]
    fn bytes_that_are_no_text_are_replaced_not_lost() {
        assert_eq!(written(&[b"a\xffb\n"]).pop().unwrap(), "a\u{fffd}b\n");
    }
}

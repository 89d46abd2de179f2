//! The quotes of a CSV file, followed byte by byte as it is read: the reader of records takes a quote that is never
//! closed for a field that reaches to the end of the file.

use std::io::{self, Read};

const MARK: [u8; 3] = *b"\xef\xbb\xbf";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Before a field's first byte.
    Start,
    /// In a field without quotes.
    Plain,
    Quoted,
    /// Behind a quote inside of quotes: it ends the field, or is half of a doubled one.
    Closing,
}

/// A reader that passes all bytes on and knows where quotes are open.
pub(in crate::platform) struct Quotes<R> {
    inner: R,
    state: State,
    /// Bytes passed on, as far as a byte order mark may reach.
    start: usize,
    line: u64,
    opened: u64,
    behind: Option<(u64, u64)>,
}

impl<R> Quotes<R> {
    pub(in crate::platform) fn new(inner: R) -> Self {
        Self {
            inner,
            state: State::Start,
            start: 0,
            line: 1,
            opened: 0,
            behind: None,
        }
    }

    /// What is wrong with the quotes, when all is read.
    pub(in crate::platform) fn fault(&self) -> Option<String> {
        if let Some((line, opened)) = self.behind {
            return Some(format!(
                "line {line} has text behind a closing quote, which was opened in line {opened}"
            ));
        }
        (self.state == State::Quoted)
            .then(|| format!("the quote opened in line {} is not closed", self.opened))
    }

    fn step(&mut self, byte: u8) {
        if MARK.get(self.start) == Some(&byte) {
            self.start += 1;
            return;
        }
        self.start = MARK.len();
        self.state = match (self.state, byte) {
            (State::Quoted, b'"') => State::Closing,
            (State::Quoted, _) | (State::Closing, b'"') => State::Quoted,
            (_, b',' | b'\n' | b'\r') => State::Start,
            (State::Start, b'"') => {
                self.opened = self.line;
                State::Quoted
            }
            (State::Closing, _) => {
                self.behind.get_or_insert((self.line, self.opened));
                State::Plain
            }
            (State::Start | State::Plain, _) => State::Plain,
        };
        self.line += u64::from(byte == b'\n');
    }
}

impl<R: Read> Read for Quotes<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(buffer)?;
        for byte in buffer.iter().take(count) {
            self.step(*byte);
        }
        Ok(count)
    }
}

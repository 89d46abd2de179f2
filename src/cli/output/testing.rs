//! An output whose words a test can read.

use super::*;

/// What was written so far.
#[derive(Clone, Default)]
pub(in crate::cli) struct Written(Arc<Mutex<Vec<u8>>>);

impl Written {
    pub(in crate::cli) fn take(&self) -> String {
        let bytes = std::mem::take(&mut *self.0.lock().unwrap());
        String::from_utf8(bytes).unwrap()
    }
}

impl Write for Written {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }
    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// Which kind of output.
#[derive(Clone, Copy, Default)]
pub(in crate::cli) struct Kind {
    pub(in crate::cli) terminal: bool,
    pub(in crate::cli) json: bool,
    pub(in crate::cli) quiet: bool,
}

/// An output that takes out `clearly-fake-secret`, its stdout and its stderr.
pub(in crate::cli) fn output(kind: Kind) -> (Output, Written, Written) {
    let (stdout, stderr) = (Written::default(), Written::default());
    let output = Output {
        stdout: Sink::new(stdout.clone(), kind.terminal),
        stderr: Sink::new(stderr.clone(), kind.terminal),
        json: kind.json,
        quiet: kind.quiet,
        redact: Arc::new(|text| text.replace("clearly-fake-secret", "«redacted»")),
    };
    (output, stdout, stderr)
}

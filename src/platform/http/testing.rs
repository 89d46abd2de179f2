//! A server of a few lines: it answers in the order in which it was told to, and remembers what it was asked.

use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

/// One answer: a status, headers (each line with its end), a body. Status 0 closes the connection instead.
pub(in crate::platform) type Told = (u16, String, String);

/// An answer without headers of its own.
pub(in crate::platform) fn told(status: u16, body: &str) -> Told {
    (status, String::new(), body.to_owned())
}

/// A server that ends with the test.
pub(in crate::platform) struct Scripted {
    pub(in crate::platform) url: String,
    seen: Arc<Mutex<Vec<String>>>,
    task: JoinHandle<()>,
}

impl Scripted {
    /// Answers once for each of `answers`; further connections are closed.
    pub(in crate::platform) async fn start(answers: Vec<Told>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let seen = Arc::new(Mutex::new(Vec::new()));
        let heard = seen.clone();
        let task = tokio::spawn(async move {
            for (status, headers, body) in answers {
                let (mut stream, _) = listener.accept().await.unwrap();
                let mut request = Vec::new();
                let mut buffer = [0; 4096];
                // A hello of TLS begins with 22.
                while !complete(&request) && request.first() != Some(&22) {
                    match stream.read(&mut buffer).await.unwrap() {
                        0 => break,
                        count => request.extend_from_slice(&buffer[..count]),
                    }
                }
                heard
                    .lock()
                    .unwrap()
                    .push(String::from_utf8_lossy(&request).into_owned());
                if status != 0 {
                    let answer = format!(
                        "HTTP/1.1 {status} X\r\nConnection: close\r\nContent-Length: {}\r\n{headers}\r\n{body}",
                        body.len()
                    );
                    stream.write_all(answer.as_bytes()).await.unwrap();
                }
            }
        });
        Self { url, seen, task }
    }

    /// What it was asked, whole.
    pub(in crate::platform) fn seen(&self) -> Vec<String> {
        self.seen.lock().unwrap().clone()
    }

    /// The first lines of what it was asked, without the version.
    pub(in crate::platform) fn asked(&self) -> Vec<String> {
        self.seen()
            .iter()
            .map(|request| {
                let line = request.lines().next().unwrap_or_default();
                line.trim_end_matches(" HTTP/1.1").to_owned()
            })
            .collect()
    }
}

impl Drop for Scripted {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn complete(request: &[u8]) -> bool {
    let text = String::from_utf8_lossy(request);
    let Some((head, body)) = text.split_once("\r\n\r\n") else {
        return false;
    };
    let length = head
        .lines()
        .find_map(|line| {
            line.to_ascii_lowercase()
                .strip_prefix("content-length: ")?
                .parse()
                .ok()
        })
        .unwrap_or(0);
    body.len() >= length
}

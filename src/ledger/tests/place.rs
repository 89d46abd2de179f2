//! The service as a place that sweeps work on.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use async_trait::async_trait;
use serde_json::Value;

use crate::model::{Code, Error, Result, Retry, Tag};
use crate::platform::RemoteSession;
use crate::platform::remote::{Closed, Created, Place, Remote, Tagged};

/// No answer takes longer; it is longer than a late one.
const CALL: Duration = Duration::from_secs(1);

#[derive(Clone, Copy, Debug)]
pub(super) struct Client(pub SocketAddr);

/// What became of a create.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Create {
    Done(String),
    /// Nothing is known.
    NoAnswer,
}

impl Client {
    pub(super) async fn create(self, tag: &Tag) -> Create {
        let body = serde_json::json!({"name": tag}).to_string();
        match self.call("POST", "/sessions", body).await {
            Ok((201, body)) => Create::Done(body["id"].to_string()),
            Ok(_) | Err(_) => Create::NoAnswer,
        }
    }

    async fn call(self, method: &'static str, path: &str, body: String) -> Result<(u16, Value)> {
        let path = path.to_owned();
        let answer = tokio::task::spawn_blocking(move || self.exchange(method, &path, &body))
            .await
            .unwrap();
        let (status, told, body) = answer.map_err(|error| {
            Error::new(Code::PlatformUnavailable, "the service does not answer").source_error(error)
        })?;
        match status {
            429 => Err(Error::new(Code::RateLimited, "too many calls")
                .retry(Retry::After(Duration::from_secs(told)))),
            500 => Err(Error::new(Code::PlatformUnavailable, "the service failed")),
            _ => Ok((status, body)),
        }
    }

    fn exchange(self, method: &str, path: &str, body: &str) -> std::io::Result<(u16, u64, Value)> {
        let mut stream = TcpStream::connect_timeout(&self.0, CALL)?;
        stream.set_read_timeout(Some(CALL))?;
        // In two parts, so that a kill can cut it.
        write!(
            stream,
            "{method} {path} HTTP/1.1\r\nHost: x\r\nContent-Length: {}\r\n\r\n",
            body.len()
        )?;
        stream.write_all(body.as_bytes())?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        let cut = || std::io::Error::from(std::io::ErrorKind::UnexpectedEof);
        let (head, body) = answer.split_once("\r\n\r\n").ok_or_else(cut)?;
        let status = head.split(' ').nth(1).and_then(|s| s.parse().ok());
        let told = head
            .lines()
            .find_map(|line| line.strip_prefix("Retry-After: "))
            .and_then(|told| told.parse().ok());
        let body = serde_json::from_str(body).map_err(|_| cut())?;
        Ok((status.ok_or_else(cut)?, told.unwrap_or_default(), body))
    }

    async fn list(self) -> Result<Vec<Tagged>> {
        let (_, body) = self.call("GET", "/sessions", String::new()).await?;
        let all = body.as_array().unwrap().iter();
        Ok(all
            .map(|s| Tagged {
                tag: Tag::new(s["name"].as_str().unwrap()),
                id: s["id"].to_string(),
            })
            .collect())
    }
}

#[async_trait]
impl Remote for Client {
    fn place(&self) -> Place {
        place(self.0)
    }

    fn release(&self, _session: &RemoteSession) -> Created {
        Created::Perhaps
    }

    async fn find_by_tag(&self, tag: &Tag) -> Result<Vec<String>> {
        let all = self.list().await?.into_iter();
        Ok(all.filter(|s| s.tag == *tag).map(|s| s.id).collect())
    }

    async fn close_verified(&self, tag: &Tag, id: &str) -> Result<Closed> {
        let path = format!("/sessions/{id}");
        let (status, body) = self.call("GET", &path, String::new()).await?;
        if status == 404 || body["name"] != tag.as_str() {
            return Ok(Closed::Gone);
        }
        self.call("DELETE", &path, String::new()).await?;
        let (status, _) = self.call("GET", &path, String::new()).await?;
        Ok(if status == 404 {
            Closed::Gone
        } else {
            Closed::StillThere
        })
    }

    async fn list_tagged(&self, prefix: &str) -> Result<Vec<Tagged>> {
        let all = self.list().await?.into_iter();
        Ok(all.filter(|s| s.tag.as_str().starts_with(prefix)).collect())
    }
}

/// Where it is.
pub(super) fn place(address: SocketAddr) -> Place {
    Place {
        platform: "test".to_owned(),
        base: format!("http://{address}"),
        principal: "somebody".to_owned(),
    }
}

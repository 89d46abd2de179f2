//! A service that has sessions, over HTTP on a port of its own: it lists, creates and deletes by id, loses and delays
//! answers as it is told, and takes no request that was cut.
//!
//! It keeps what happened when: the oracle of the kill tests.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::ledger::store;

/// How long a late answer takes, and a create that lands late.
pub(super) const LATE: Duration = Duration::from_millis(300);

/// What becomes of an answer. What was asked for is done all the same.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Answer {
    #[default]
    Given,
    Lost,
    Late,
    /// 500.
    Failed,
    /// The connection ends at once, and the create lands later.
    LandsLate,
    /// 429 with Retry-After, and nothing is done.
    Refused,
}

/// A session of the service.
#[derive(Clone, Debug)]
pub(super) struct Session {
    pub id: u64,
    pub name: String,
    pub deleted: Option<Instant>,
}

#[derive(Debug, Default)]
struct World {
    sessions: Vec<Session>,
    next: u64,
    create: Answer,
    delete: Answer,
    posts: usize,
    deletes: usize,
    /// Creates whose row was not durable before a byte of them came.
    without_row: usize,
    ledger: Option<PathBuf>,
}

/// It stops with the value.
pub(super) struct Service {
    pub address: SocketAddr,
    world: Arc<Mutex<World>>,
    stop: Arc<AtomicBool>,
}

impl Service {
    /// With the ledger that every create must be in before it comes.
    pub(super) fn start(ledger: &Path) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let address = listener.local_addr().unwrap();
        let world = Arc::new(Mutex::new(World {
            ledger: Some(ledger.join("ledger.db")),
            ..World::default()
        }));
        let stop = Arc::new(AtomicBool::new(false));
        let (shared, stopping) = (world.clone(), stop.clone());
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                if stopping.load(Ordering::Relaxed) {
                    return;
                }
                let world = shared.clone();
                std::thread::spawn(move || serve(stream.unwrap(), &world));
            }
        });
        Self {
            address,
            world,
            stop,
        }
    }

    pub(super) fn answers(&self, create: Answer, delete: Answer) {
        let mut world = self.world.lock().unwrap();
        (world.create, world.delete) = (create, delete);
    }

    /// A session of somebody else.
    pub(super) fn stranger(&self, name: &str) -> u64 {
        self.world.lock().unwrap().make(name)
    }

    /// All that it ever had.
    pub(super) fn all(&self) -> Vec<Session> {
        self.world.lock().unwrap().sessions.clone()
    }

    /// The names of those that are there.
    pub(super) fn there(&self) -> Vec<String> {
        let open = self.all().into_iter().filter(|s| s.deleted.is_none());
        open.map(|session| session.name).collect()
    }

    /// Forgets every session, and begins with the same ids again.
    pub(super) fn restart(&self) {
        let mut world = self.world.lock().unwrap();
        world.sessions.clear();
        world.next = 0;
    }

    pub(super) fn posts(&self) -> usize {
        self.world.lock().unwrap().posts
    }

    pub(super) fn deletes(&self) -> usize {
        self.world.lock().unwrap().deletes
    }

    pub(super) fn creates_without_row(&self) -> usize {
        self.world.lock().unwrap().without_row
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        let _ = TcpStream::connect(self.address);
    }
}

impl World {
    fn make(&mut self, name: &str) -> u64 {
        let id = self.next;
        self.next += 1;
        self.sessions.push(Session {
            id,
            name: name.to_owned(),
            deleted: None,
        });
        id
    }
}

fn serve(mut stream: TcpStream, world: &Mutex<World>) {
    stream
        .set_read_timeout(Some(Duration::from_secs(5)))
        .unwrap();
    let Some((method, path, body)) = request(&stream) else {
        return;
    };
    let id = path
        .strip_prefix("/sessions/")
        .and_then(|id| id.parse::<u64>().ok());
    let answer = match (method.as_str(), id) {
        ("POST", None) => create(&body, world),
        ("DELETE", Some(id)) => delete(id, world),
        ("GET", Some(id)) => {
            let world = world.lock().unwrap();
            let found = world
                .sessions
                .iter()
                .find(|s| s.id == id && s.deleted.is_none());
            Some(found.map_or((404, json!({})), |s| (200, shown(s))))
        }
        ("GET", None) => {
            let world = world.lock().unwrap();
            let open = world.sessions.iter().filter(|s| s.deleted.is_none());
            Some((200, Value::from(open.map(shown).collect::<Vec<_>>())))
        }
        _ => Some((405, json!({}))),
    };
    let Some((status, body)) = answer else { return };
    let body = body.to_string();
    let retry = if status == 429 {
        "Retry-After: 1\r\n"
    } else {
        ""
    };
    let _ = write!(
        stream,
        "HTTP/1.1 {status} X\r\nContent-Length: {}\r\n{retry}Connection: close\r\n\r\n{body}",
        body.len()
    );
}

fn shown(session: &Session) -> Value {
    json!({"id": session.id, "name": session.name})
}

fn create(body: &[u8], world: &Mutex<World>) -> Option<(u16, Value)> {
    // A create that was cut has no name: it is none.
    let body: Value = serde_json::from_slice(body).ok()?;
    let name = body["name"].as_str()?.to_owned();
    let answer = {
        let mut world = world.lock().unwrap();
        world.posts += 1;
        let durable = world
            .ledger
            .as_ref()
            .is_some_and(|ledger| store::has_row(ledger, &name));
        world.without_row += usize::from(!durable);
        world.create
    };
    if answer == Answer::LandsLate {
        std::thread::sleep(LATE);
    }
    if answer == Answer::Refused {
        return Some((429, json!({})));
    }
    let id = world.lock().unwrap().make(&name);
    answered(answer, (201, json!({"id": id, "name": name})))
}

fn delete(id: u64, world: &Mutex<World>) -> Option<(u16, Value)> {
    let answer = {
        let mut world = world.lock().unwrap();
        world.deletes += 1;
        let answer = world.delete;
        if answer == Answer::Refused {
            return Some((429, json!({})));
        }
        let found = world
            .sessions
            .iter_mut()
            .find(|s| s.id == id && s.deleted.is_none());
        let Some(session) = found else {
            return Some((404, json!({})));
        };
        session.deleted = Some(Instant::now());
        answer
    };
    answered(answer, (200, json!({})))
}

fn answered(answer: Answer, given: (u16, Value)) -> Option<(u16, Value)> {
    match answer {
        Answer::Lost | Answer::LandsLate => None,
        Answer::Late => {
            std::thread::sleep(LATE);
            Some(given)
        }
        Answer::Failed => Some((500, json!({"msg": "it broke"}))),
        Answer::Given | Answer::Refused => Some(given),
    }
}

/// Method, path and the whole body; `None` for a request that was cut.
fn request(stream: &TcpStream) -> Option<(String, String, Vec<u8>)> {
    let mut reader = BufReader::new(stream);
    let mut line = String::new();
    reader.read_line(&mut line).ok()?;
    let mut words = line.split_whitespace();
    let (method, path) = (words.next()?.to_owned(), words.next()?.to_owned());
    let mut length = 0;
    loop {
        let mut header = String::new();
        if reader.read_line(&mut header).ok()? == 0 {
            return None;
        }
        let header = header.trim().to_ascii_lowercase();
        if header.is_empty() {
            break;
        }
        if let Some(value) = header.strip_prefix("content-length:") {
            length = value.trim().parse().ok()?;
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    Some((method, path, body))
}

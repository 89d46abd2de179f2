//! Random stories against the pool, with a model of the outside that believes nothing: it knows what exists, who
//! waits and who holds what from the effects alone, and checks every effect against that.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::*;
use crate::model::{Code, Retry};

const OWNERS: u8 = 8;
const TARGETS: [&str; 3] = ["a", "b", "c"];

#[derive(Clone, Copy, Debug, PartialEq)]
enum Remote {
    Opening,
    Open,
    Closing,
    /// A close failed; the next one has not begun.
    Unclosed,
}

#[derive(Clone, Debug)]
struct Asked {
    owner: OwnerId,
    target: TargetName,
    /// `Some(None)` for any session, `Some(name)` for that one, `None` for an open or a close.
    acquire: Option<Option<SessionName>>,
}

struct World {
    state: State,
    at: Moment,
    limits: BTreeMap<TargetName, Limits>,
    waiters: u64,
    waiting: BTreeMap<WaiterId, Asked>,
    remote: BTreeMap<SessionId, (TargetName, Remote)>,
    ever: BTreeSet<SessionId>,
    owner_of: BTreeMap<SessionId, OwnerId>,
    given_up: BTreeSet<SessionId>,
    leases: Vec<(SessionId, WaiterId)>,
    bound: BTreeMap<(OwnerId, SessionName), SessionId>,
    reopened: BTreeSet<(OwnerId, SessionName)>,
    grants: Vec<OwnerId>,
}

fn owner(n: u8) -> OwnerId {
    OwnerId::new(format!("owner-{}", n % OWNERS))
}

fn target(n: u16) -> TargetName {
    TargetName::new(TARGETS[usize::from(n) % TARGETS.len()])
}

fn name(n: u16) -> SessionName {
    SessionName::new(format!("n{}", n % 3))
}

fn pick<T: Clone>(from: &[T], n: u16) -> Option<T> {
    (!from.is_empty()).then(|| from[usize::from(n) % from.len()].clone())
}

impl World {
    fn new(limits: [Limits; 3]) -> Self {
        let limits: BTreeMap<_, _> = (0_u16..).map(target).zip(limits).collect();
        Self {
            state: State::new("t", limits.clone()),
            at: Moment::default(),
            limits,
            waiters: 0,
            waiting: BTreeMap::new(),
            remote: BTreeMap::new(),
            ever: BTreeSet::new(),
            owner_of: BTreeMap::new(),
            given_up: BTreeSet::new(),
            leases: Vec::new(),
            bound: BTreeMap::new(),
            reopened: BTreeSet::new(),
            grants: Vec::new(),
        }
    }

    fn ask(&mut self, asked: Asked) -> WaiterId {
        self.waiters += 1;
        let id = WaiterId(self.waiters);
        self.waiting.insert(id, asked);
        id
    }

    fn acquire(
        &mut self,
        owner: OwnerId,
        target: TargetName,
        session: Option<SessionName>,
        wait: Duration,
    ) {
        let waiter = self.ask(Asked {
            owner: owner.clone(),
            target: target.clone(),
            acquire: Some(session.clone()),
        });
        let deadline = self.at.mono + wait;
        self.step(Event::Acquire {
            waiter,
            owner,
            target,
            session,
            deadline,
        });
    }

    fn step(&mut self, event: Event) {
        let tick = matches!(event, Event::Tick);
        for effect in self.state.step(self.at, event) {
            self.check(effect);
        }
        let known: Vec<_> = self.state.waiters.keys().collect();
        assert_eq!(
            known,
            self.waiting.keys().collect::<Vec<_>>(),
            "nobody is forgotten"
        );
        assert_eq!(self.state.session_count(), self.remote.len());
        self.check_owners();
        let of = |s: &Session| matches!(s.stage, Stage::Leased(_));
        let leased = self.state.sessions.values().filter(|s| of(s)).count();
        let held: usize = self.state.owners.values().map(|o| o.leased.len()).sum();
        assert_eq!(
            (leased, held),
            (self.leases.len(), leased),
            "a lease holds its owner, and only while it lasts"
        );
        if tick && let Some(wake) = self.state.next_wake() {
            assert!(wake > self.at.mono, "a tick leaves nothing due");
        }
    }

    /// A session has one owner ever, and what belongs to one only with it; of those without there are no more than
    /// are wanted.
    fn check_owners(&mut self) {
        let mut warm: BTreeMap<&TargetName, usize> = BTreeMap::new();
        for (id, session) in &self.state.sessions {
            match &session.owner {
                Some(owner) => {
                    let first = self.owner_of.entry(id.clone()).or_insert(owner.clone());
                    assert_eq!(first, owner, "one owner ever");
                }
                None => {
                    assert!(!self.owner_of.contains_key(id), "an owner is for ever");
                    assert!(session.name.is_none() && session.waiters.is_empty());
                    assert!(!matches!(session.stage, Stage::Pending | Stage::Leased(_)));
                    *warm.entry(&session.target).or_default() += usize::from(session.is_warm());
                }
            }
        }
        for (target, count) in warm {
            assert!(count <= self.limits[target].warm, "no more than wanted");
            let unmet = |a: &Asked| a.target == *target && self.state.unmet(&a.owner, target) > 0;
            assert!(
                count == 0 || !self.waiting.values().any(unmet),
                "nobody waits for room while one is for nobody"
            );
        }
    }

    fn check(&mut self, effect: Effect) {
        match effect {
            Effect::OpenSession { session, target } => {
                assert!(self.ever.insert(session.clone()), "an id is opened once");
                self.remote
                    .insert(session, (target.clone(), Remote::Opening));
                let used = self.remote.values().filter(|(t, _)| *t == target).count();
                assert!(used <= self.limits[&target].sessions, "the limit holds");
            }
            Effect::GiveUpOpen { session } => {
                assert_eq!(self.remote[&session].1, Remote::Opening);
                assert!(self.given_up.insert(session), "once is enough");
            }
            Effect::CloseSession { session, target } => {
                let (at, remote) = self.remote.get_mut(&session).expect("it exists");
                assert_eq!(*at, target);
                assert!(
                    matches!(remote, Remote::Open | Remote::Unclosed),
                    "one close at a time, after the open"
                );
                *remote = Remote::Closing;
                self.leases.retain(|(s, _)| *s != session);
            }
            Effect::Grant {
                waiter,
                session,
                owner,
                target,
                named,
            } => {
                let asked = self.waiting.remove(&waiter).expect("one answer each");
                assert_eq!((&asked.owner, &asked.target), (&owner, &target));
                assert_eq!(asked.acquire, Some(named.clone()), "what was asked for");
                assert_eq!(self.remote[&session], (target.clone(), Remote::Open));
                assert!(
                    self.leases.iter().all(|(s, _)| *s != session),
                    "one lease at a time"
                );
                let first = self
                    .owner_of
                    .entry(session.clone())
                    .or_insert(owner.clone());
                assert_eq!(*first, owner, "one owner ever");
                let overtaken = self.waiting.iter().find(|(id, a)| {
                    **id < waiter
                        && a.owner == owner
                        && a.target == target
                        && a.acquire == asked.acquire
                });
                assert!(
                    overtaken.is_none(),
                    "first come, first served: {overtaken:?}"
                );
                if let Some(name) = named {
                    let key = (owner.clone(), name);
                    let before = self.bound.insert(key.clone(), session.clone());
                    if before.is_none_or(|before| before != session) {
                        assert!(self.reopened.remove(&key), "a name is never bound silently");
                    }
                }
                self.grants.push(owner);
                self.leases.push((session, waiter));
            }
            Effect::Inform { waiter, .. } => {
                let asked = self.waiting.remove(&waiter).expect("one answer each");
                assert_eq!(asked.acquire, None);
            }
            Effect::Refuse { waiter, error } => {
                self.waiting.remove(&waiter).expect("one answer each");
                assert_ne!(error.code(), Code::Internal);
            }
            Effect::Say { waiter, .. } => assert!(self.waiting.contains_key(&waiter)),
        }
    }

    fn those(&self, state: Remote) -> Vec<SessionId> {
        let those = self.remote.iter().filter(|(_, (_, r))| *r == state);
        those.map(|(id, _)| id.clone()).collect()
    }

    fn opened(&mut self, session: SessionId, error: Option<Error>) {
        if error
            .as_ref()
            .is_some_and(|e| e.code() == Code::SessionsExhausted)
        {
            // Nothing was made: it may be opened another time.
            self.remote.remove(&session);
            self.ever.remove(&session);
        } else {
            self.remote.get_mut(&session).unwrap().1 = Remote::Open;
        }
        self.step(match error {
            None => Event::Opened { session },
            Some(error) => Event::OpenFailed { session, error },
        });
    }

    fn closed(&mut self, session: SessionId, error: Option<Error>) {
        match error {
            None => {
                self.remote.remove(&session);
                self.step(Event::Closed { session });
            }
            Some(error) => {
                self.remote.get_mut(&session).unwrap().1 = Remote::Unclosed;
                self.step(Event::CloseFailed { session, error });
            }
        }
    }

    fn release(&mut self, which: u16, outcome: Outcome) {
        if let Some((session, lease)) = pick(&self.leases, which) {
            self.leases.retain(|(s, _)| *s != session);
            self.step(Event::Release {
                session,
                lease,
                outcome,
            });
        }
    }

    fn pass(&mut self, mono: Duration, wall: Duration) {
        self.at.mono += mono;
        self.at.wall += wall;
        self.step(Event::Tick);
    }

    /// One thing happens.
    fn act(&mut self, (what, who, n): (u8, u8, u16)) {
        let (owner, target) = (owner(who), target(n / 7));
        let wait = Duration::from_secs(u64::from(n % 97));
        let code = match n % 5 {
            0 | 1 if what % 64 == 27 => Code::SessionsExhausted,
            _ => Code::CapacityUnavailable,
        };
        let error = Error::new(code, "no room").retry(match n % 3 {
            0 => Retry::No,
            1 => Retry::Now,
            _ => Retry::After(Duration::from_secs(u64::from(n % 11))),
        });
        match what % 64 {
            0..=13 => self.acquire(owner, target, None, wait),
            14..=18 => self.acquire(owner, target, Some(name(n)), wait),
            19..=22 => {
                let waiter = self.ask(Asked {
                    owner: owner.clone(),
                    target: target.clone(),
                    acquire: None,
                });
                let name = (n % 5 > 0).then(|| name(n));
                if let Some(name) = &name {
                    self.reopened.insert((owner.clone(), name.clone()));
                }
                let deadline = self.at.mono + wait;
                self.step(Event::Open {
                    waiter,
                    owner,
                    target,
                    name,
                    deadline,
                });
            }
            23..=24 => {
                let waiter = self.ask(Asked {
                    owner: owner.clone(),
                    target,
                    acquire: None,
                });
                let deadline = self.at.mono + wait;
                self.step(Event::Close {
                    waiter,
                    owner,
                    name: name(n),
                    deadline,
                });
            }
            25..=26 => {
                let all: Vec<WaiterId> = self.waiting.keys().copied().collect();
                if let Some(waiter) = pick(&all, n) {
                    self.waiting.remove(&waiter);
                    self.step(Event::Cancel { waiter });
                }
            }
            27..=35 => {
                if let Some(session) = pick(&self.those(Remote::Opening), n) {
                    self.opened(session, (what % 64 == 27).then_some(error));
                }
            }
            36..=42 => {
                if let Some(session) = pick(&self.those(Remote::Closing), n) {
                    self.closed(session, (what % 64 == 36).then_some(error));
                }
            }
            43..=53 => self.release(n, Outcome::Healthy),
            54 => self.release(n, Outcome::Lost("it crashed".to_owned())),
            55 => self.release(n, Outcome::Unused),
            56 => self.step(Event::Touch { owner }),
            57 if n % 4 == 0 => {
                self.step(Event::OwnerGone {
                    owner: owner.clone(),
                });
                assert!(
                    self.waiting.values().all(|a| a.owner != owner),
                    "its calls are answered"
                );
                let theirs = self.owner_of.iter().filter(|(_, o)| **o == owner);
                let left = theirs
                    .filter(|(id, _)| self.remote.get(id).is_some_and(|r| r.1 == Remote::Open));
                assert_eq!(left.count(), 0, "its sessions close");
            }
            58..=60 => self.pass(wait / 4, wait / 4),
            61 => self.pass(wait * 10, Duration::ZERO),
            62 => self.pass(Duration::ZERO, wait * 20),
            63 if n % 3 == 0 => self.step(Event::Start),
            63 if n % 3 == 1 => {
                if let Some(session) = pick(&self.those(Remote::Open), n) {
                    let reason = "it died".to_owned();
                    self.step(Event::Died { session, reason });
                }
            }
            _ => self.bogus(n),
        }
    }

    /// Things that the pool never asked about.
    fn bogus(&mut self, n: u16) {
        let session = SessionId::new(format!("se_x_{n}"));
        let error = Error::new(Code::Timeout, "no answer");
        let lease = WaiterId(u64::MAX);
        let outcome = Outcome::Healthy;
        let mut events = vec![
            Event::Opened {
                session: session.clone(),
            },
            Event::OpenFailed {
                session: session.clone(),
                error: error.clone(),
            },
            Event::Closed {
                session: session.clone(),
            },
            Event::Died {
                session: session.clone(),
                reason: "it died".to_owned(),
            },
            Event::CloseFailed {
                session: session.clone(),
                error,
            },
            Event::Release {
                session,
                lease,
                outcome: outcome.clone(),
            },
            Event::Cancel { waiter: lease },
            Event::OwnerGone {
                owner: OwnerId::new("nobody"),
            },
        ];
        if let Some((session, _)) = pick(&self.leases, n) {
            events.push(Event::Release {
                session: session.clone(),
                lease,
                outcome,
            });
            events.push(Event::Opened {
                session: session.clone(),
            });
            events.push(Event::Closed { session });
        }
        for event in events {
            let effects = self.state.step(self.at, event.clone());
            assert!(effects.is_empty(), "{event:?} led to {effects:?}");
        }
    }

    /// Everything under way ends well, then the process ends.
    fn end(&mut self, gently: bool) {
        if gently {
            for n in 0..OWNERS {
                self.step(Event::OwnerGone { owner: owner(n) });
            }
            // Those without an owner stay until nobody has asked for long.
            self.pass(self.limits[&target(0)].silence_for, Duration::ZERO);
        } else {
            self.step(Event::Shutdown);
        }
        for round in 0.. {
            assert!(round < 100, "it comes to an end");
            if self.remote.is_empty() {
                break;
            }
            for session in self.those(Remote::Opening) {
                self.opened(session, None);
            }
            for session in self.those(Remote::Closing) {
                self.closed(session, None);
            }
            self.pass(Duration::from_secs(31), Duration::ZERO);
        }
        assert!(
            self.waiting.is_empty(),
            "every call has its answer: {:?}",
            self.waiting
        );
        assert!(self.state.sessions.is_empty() && self.state.names.is_empty());
        assert!(self.state.owners.is_empty() && self.state.deadlines.is_empty());
    }
}

fn limits(sessions: usize, queue: usize) -> Limits {
    Limits {
        sessions,
        queue,
        ..Limits::default()
    }
}

fn warm(warm: usize, limits: Limits) -> Limits {
    Limits { warm, ..limits }
}

fn story(acts: Vec<(u8, u8, u16)>, gently: bool) {
    let mut world = World::new([limits(1, 3), warm(1, limits(3, 20)), warm(3, limits(5, 0))]);
    for act in acts {
        world.act(act);
    }
    world.end(gently);
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, cases: ProptestConfig::default().cases * 300 / 256, ..ProptestConfig::default() })]

    #[test]
    fn every_story_keeps_the_promises(
        acts in prop::collection::vec(any::<(u8, u8, u16)>(), 1..400),
        gently in any::<bool>(),
    ) {
        story(acts, gently);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, cases: ProptestConfig::default().cases * 60 / 256, ..ProptestConfig::default() })]

    /// Fewer, equal and more sessions than owners; statements end in random order.
    #[test]
    fn no_owner_starves(
        sessions in 1_usize..6,
        spare in 0_usize..3,
        owners in 2_u8..8,
        ends in prop::collection::vec(any::<u16>(), 600),
    ) {
        let mut world = World::new([warm(spare, limits(sessions, 20)); 3]);
        world.step(Event::Start);
        let forever = Duration::from_secs(1_000_000);
        let mut opened_by_half = 0;
        for (round, end) in ends.into_iter().enumerate() {
            if round == 300 {
                opened_by_half = world.ever.len();
            }
            for n in 0..owners {
                // Everybody always wants more, the first most of all.
                let depth = if n == 0 { 12 } else { 2 };
                let has = world.waiting.values().filter(|a| a.owner == owner(n)).count();
                for _ in has..depth {
                    world.acquire(owner(n), target(0), None, forever);
                }
            }
            for session in world.those(Remote::Opening) {
                world.opened(session, None);
            }
            // Some statements are short, none is endless.
            let which = if end % 2 == 0 { 0 } else { end };
            world.release(which, Outcome::Healthy);
            for session in world.those(Remote::Closing) {
                world.closed(session, None);
            }
        }
        // What must not be is that an owner is passed over while others are served again and again.
        let patience = usize::from(owners) * 40;
        for n in 0..owners {
            let gaps = world.grants.split(|o| *o == owner(n)).map(<[_]>::len);
            prop_assert!(gaps.max().unwrap_or(0) <= patience, "{n}: {:?}", world.grants);
        }
        if sessions >= usize::from(owners) {
            // Once all have their share, nothing is closed for fairness any more.
prop_assert_eq!(world.ever.len(), opened_by_half);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, max_shrink_iters: 200, cases: ProptestConfig::default().cases * 4 / 256, ..ProptestConfig::default() })]

    #[test]
    fn ten_thousand_steps_keep_the_promises(
        acts in prop::collection::vec(any::<(u8, u8, u16)>(), 10_000),
    ) {
        story(acts, false);
    }
}

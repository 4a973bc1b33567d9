//! Idle connections, by endpoint: the newest is used first, bounded in number, age and idle time.
//!
//! The bound on age is also what keeps a pooled connection vetted: its address was judged when it was opened.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use postrider_contract::egress::{Host, WebhookUrl};
use postrider_contract::profile::TlsVersion;
use tokio::time::Instant;

use super::connection::Connection;

/// What a connection leads to, and may be reused for.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Endpoint {
    pub scheme: Scheme,
    pub host: Host,
    pub port: u16,
    /// With another one it is another connection: an open one is not older than asked for.
    pub minimum_tls: TlsVersion,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Scheme {
    Http,
    Https,
}

impl Endpoint {
    #[must_use]
    pub fn of(url: &WebhookUrl, minimum_tls: TlsVersion) -> Self {
        let scheme = if url.is_tls() { Scheme::Https } else { Scheme::Http };
        Endpoint { scheme, host: url.host().clone(), port: url.port(), minimum_tls }
    }
}

/// How many connections are kept, and for how long.
#[derive(Clone, Copy, Debug)]
pub struct PoolLimits {
    /// A connection older than this is not used again.
    pub max_age: Duration,
    /// Nor one that was not used for this long.
    pub max_idle_time: Duration,
    pub max_idle_per_endpoint: usize,
    pub max_idle: usize,
}

impl Default for PoolLimits {
    /// Five minutes of age bound how long a name's old address is used. Sixty seconds of idleness is where common
    /// servers close on their side. 256 is the default window of a webhook; 4096 sockets fit beside everything
    /// else into a limit of 8192 files.
    fn default() -> Self {
        PoolLimits {
            max_age: Duration::from_secs(300),
            max_idle_time: Duration::from_secs(60),
            max_idle_per_endpoint: 256,
            max_idle: 4096,
        }
    }
}

#[derive(Debug)]
struct Idle {
    connection: Connection,
    since: Instant,
}

#[derive(Debug, Default)]
struct Shelf {
    idle: HashMap<Arc<Endpoint>, VecDeque<Idle>>,
    count: usize,
}

#[derive(Debug)]
pub struct Pool {
    limits: PoolLimits,
    shelf: Mutex<Shelf>,
}

impl Pool {
    pub fn new(limits: PoolLimits) -> Self {
        Pool { limits, shelf: Mutex::default() }
    }

    /// The most recently used connection that is still within its limits. The caller asks if it is usable.
    pub fn take(&self, endpoint: &Arc<Endpoint>) -> Option<Connection> {
        let now = Instant::now();
        let mut shelf = self.shelf();
        let queue = shelf.idle.get_mut(endpoint)?;
        let (mut taken, mut found) = (0, None);
        while let Some(idle) = queue.pop_back() {
            taken += 1;
            if self.is_fresh(&idle, now) {
                found = Some(idle.connection);
                break;
            }
        }
        if queue.is_empty() {
            shelf.idle.remove(endpoint);
        }
        shelf.count -= taken;
        found
    }

    /// Keeps a connection for the next try. Where there is no room, an older one goes.
    pub fn put(&self, endpoint: &Arc<Endpoint>, connection: Connection) {
        let now = Instant::now();
        let idle = Idle { connection, since: now };
        if !self.is_fresh(&idle, now) || self.limits.max_idle == 0 || self.limits.max_idle_per_endpoint == 0 {
            return;
        }
        let mut shelf = self.shelf();
        let own =
            shelf.idle.get_mut(endpoint).filter(|queue| queue.len() >= self.limits.max_idle_per_endpoint);
        if let Some(queue) = own {
            queue.pop_front();
            queue.push_back(idle);
            return;
        }
        if shelf.count >= self.limits.max_idle {
            shelf.evict_one();
        }
        shelf.idle.entry(Arc::clone(endpoint)).or_default().push_back(idle);
        shelf.count += 1;
    }

    /// Closes what is past its limits; called now and then.
    pub fn sweep(&self) {
        let now = Instant::now();
        let mut shelf = self.shelf();
        let mut count = 0;
        shelf.idle.retain(|_, queue| {
            queue.retain(|idle| self.is_fresh(idle, now));
            count += queue.len();
            !queue.is_empty()
        });
        shelf.count = count;
    }

    /// How many connections are idle.
    pub fn idle_count(&self) -> usize {
        self.shelf().count
    }

    fn is_fresh(&self, idle: &Idle, now: Instant) -> bool {
        now.duration_since(idle.connection.opened()) < self.limits.max_age
            && now.duration_since(idle.since) < self.limits.max_idle_time
    }

    fn shelf(&self) -> MutexGuard<'_, Shelf> {
        self.shelf.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Shelf {
    /// Drops the oldest connection of some endpoint.
    fn evict_one(&mut self) {
        let Some((endpoint, queue)) = self.idle.iter_mut().next() else { return };
        let endpoint = Arc::clone(endpoint);
        if queue.pop_front().is_some() {
            self.count -= 1;
        }
        if queue.is_empty() {
            self.idle.remove(&endpoint);
        }
    }
}

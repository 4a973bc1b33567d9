//! Every setting: what it does, what it trades, its bounds and its default.
//!
//! The comments below are what `postrider config print --defaults` and the reference page show.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::num::{NonZeroU16, NonZeroU32};
use std::path::PathBuf;
use std::time::Duration;

use ipnet::IpNet;
use postrider_contract::profile::Span;
use postrider_contract::secret::Secret;
use postrider_service::master_key::MasterKey;

use super::reader::{Declared, Problems, Reader};

#[derive(Debug, thiserror::Error)]
pub enum SettingsError {
    #[error("cannot read the configuration file {path}", path = .path.display())]
    File { path: PathBuf, source: std::io::Error },
    /// One line, where the parser's own message draws a picture.
    #[error("the configuration file {path} is not TOML: line {line}: {detail}", path = .path.display())]
    Syntax { path: PathBuf, line: usize, detail: String },
    #[error("the configuration is not valid{lead}{problems}", lead = .0.lead(), problems = .0)]
    Invalid(Problems),
}

/// Declares a section: its struct, how it is read, and its table for the reference.
macro_rules! section {
    (
        $(#[$doc:meta])*
        $name:ident = $section:literal {
            $( $(#[doc = $meaning:literal])+ $field:ident : $kind:ty $(= $default:literal)? , )+
        }
    ) => {
        $(#[$doc])*
        #[derive(Clone, Debug)]
        pub struct $name { $( $(#[doc = $meaning])+ pub $field: section!(@field $kind $(, $default)?), )+ }

        impl $name {
            const SECTION: &'static str = $section;

            fn declared() -> Vec<Declared> {
                vec![ $( Declared {
                    section: $section,
                    name: stringify!($field),
                    meaning: vec![ $( $meaning.trim() ),+ ],
                    default: section!(@default $($default)?),
                } ),+ ]
            }

            fn read(reader: &mut Reader) -> Option<Self> {
                let mut declared = Self::declared().into_iter();
                // Every field is read before any is missed, so that every problem is found.
                $( let $field = reader.take::<$kind>(declared.next()?); )+
                Some($name { $( $field: section!(@value $field $(, $default)?), )+ })
            }
        }
    };
    (@field $kind:ty, $default:literal) => { $kind };
    (@field $kind:ty) => { Option<$kind> };
    (@default $default:literal) => { Some($default) };
    (@default) => { None };
    (@value $field:ident, $default:literal) => { $field? };
    (@value $field:ident) => { $field };
}

section! {
    /// The process and its API.
    Server = "server" {
        /// Address and port of the API. Bind to a private address, or put a TLS proxy in front.
        listen: SocketAddr = "\"127.0.0.1:8080\"",
        /// The roles of this process. Fewer than all need the cluster engines (`engine.queue`, `engine.store`).
        roles: Roles = "\"ingest,worker,status,manage\"",
        /// How long work in flight may take to finish after SIGTERM. Longer than the longest time limit of a try
        /// (10 s by default), or such a try is made again by another process.
        grace: Span = "\"30s\"",
        /// How long, within that, requests are still taken after SIGTERM, while `/readyz` says 503 already and every answer
        /// asks to connect anew: as long as a balancer needs to notice. Shorter than `server.grace`. Absent: 10 s, or half
        /// of `server.grace` if that is less; none on the embedded engine, with `server.dev`, or without `ingest` and `manage`.
        drain_delay: Span,
        /// How many connections the API serves at once. Each costs a few KiB; more wait to be accepted.
        max_connections: NonZeroU32 = "4096",
        /// For one machine and one developer: receivers may be plain http and on this machine. Never in production.
        dev: bool = "false",
    }
}

section! {
    /// Where queue, configuration and log are kept.
    Engine = "engine" {
        /// The directory of the embedded engine: queue, configuration, log, master key.
        data: PathBuf = "\"./data\"",
        /// `amqp://` or `amqps://` URL of RabbitMQ 3.10 or newer; of a cluster, all nodes (`host1,host2:5673,host3`): a
        /// lost connection goes on at the next. Set together with `engine.store`.
        queue: Secret,
        /// `postgres://` URL of PostgreSQL 13 or newer. Set together with `engine.queue`.
        store: Secret,
        /// What the names of all exchanges and queues begin with; installations that share a broker differ here.
        queue_prefix: String = "\"postrider\"",
        /// Connections to PostgreSQL of one process for the API, configuration and checks; opened as needed. A status
        /// process has `status.writers` and four more beside these, any other process two more.
        store_connections: NonZeroU16 = "10",
        /// How long one question to PostgreSQL, or to the embedded engine, may take before the API answers 503; 100 ms to
        /// 1 min. A ledger over months may need more than the default.
        store_query_time: Span = "\"5s\"",
        /// How long one statement that writes the log may take before it is given up and tried again; 1 s to 10 min.
        store_write_time: Span = "\"30s\"",
        /// How long making a connection to PostgreSQL, or waiting for a free one, may take; 100 ms to 1 min.
        store_connect_time: Span = "\"5s\"",
        /// PEM file of certificate authorities for TLS to the queue and the store, beside the public ones.
        ca_file: PathBuf,
        /// Whether a process that starts brings schema and broker objects up to date. Off: run `postrider migrate`
        /// and `postrider topology declare` first.
        migrate_at_start: bool = "true",
    }
}

section! {
    /// Which addresses deliveries may be sent to.
    Egress = "egress" {
        /// Accept `http://` URLs too. A body sent over http can be read and changed on its way.
        allow_http: bool = "false",
        /// Networks (CIDR) that deliveries may reach although they are private or special, for instance
        /// `["10.1.0.0/16"]`. Never lifts the addresses of cloud metadata services.
        allow_networks: Vec<IpNet> = "[]",
        /// Ports that are refused by default because another service usually listens there, to be opened.
        open_ports: Vec<u16> = "[]",
        /// PEM file of certificate authorities that receivers may use, beside the public ones.
        ca_file: PathBuf,
        /// The addresses that deliveries come from, as told to receivers by `GET /v1/egress`.
        published_addresses: Vec<IpNet> = "[]",
    }
}

section! {
    /// Taking events in.
    Ingest = "ingest" {
        /// New events are answered with 429 while the oldest queued first try is older than this.
        max_backlog_age: Span = "\"5m\"",
        /// How long the directory of webhooks may be used while the store is away.
        max_directory_age: Span = "\"10m\"",
        /// How long a repeated request is recognised by its idempotency key or event id; at least 24 h.
        remember_keys: Span = "\"24h\"",
        /// Whether to take events from RabbitMQ too (cluster engines only).
        amqp: bool = "true",
    }
}

section! {
    /// Sending deliveries.
    Worker = "worker" {
        /// Tries under way at once in this process, 5 to 16,384. Each costs a connection and about 20 KiB.
        slots: NonZeroU16 = "1024",
        /// Tries under way at once to one webhook, unless it sets its own `max_in_flight`.
        window: NonZeroU16 = "256",
        /// Idle connections kept open in all, and for how long. A new TLS connection costs twenty times a request.
        max_idle_connections: NonZeroU32 = "4096",
        /// After this an idle connection is closed.
        idle_time: Span = "\"90s\"",
    }
}

section! {
    /// Writing and keeping the log.
    StatusSection = "status" {
        /// Days that the delivery log is kept. A day with deliveries that are not concluded stays until they are.
        retention_days: NonZeroU16 = "30",
        /// Days that the bodies of receivers' answers are kept; everything else of a try is kept with its delivery.
        /// They are large and may hold what is personal. On the embedded engine they go with their day of the log.
        body_retention_days: NonZeroU16 = "7",
        /// A delivery this far past its due time is published again. Above the queue's own worst lateness, or what is
        /// merely late is sent twice; at least 10 s.
        overdue_after: Span = "\"10m\"",
        /// Batches written at once by this process.
        writers: NonZeroU16 = "2",
    }
}

section! {
    /// What there is from the start, and how much one tenant may have.
    Management = "manage" {
        /// A folder with profiles, each a file `NAME.toml` or `NAME.json`. At every start of a process with the role
        /// `manage` each is put as the API would put it, over whatever was put there since; one that is wrong, or that a
        /// webhook would not fit, keeps the process from starting.
        profiles: PathBuf,
        /// Webhooks of one tenant. Every event is matched against all of them.
        webhooks_per_tenant: NonZeroU32 = "10000",
        /// Keys of one tenant: enough for a key per service and its rotation.
        keys_per_tenant: NonZeroU32 = "100",
        /// Bytes of the templates and filters of one tenant's webhooks together. Every process keeps them read: templates
        /// in some three times as much memory, filters in up to thirty times.
        template_bytes_per_tenant: NonZeroU32 = "16777216",
    }
}

section! {
    /// Keys and secrets.
    Security = "security" {
        /// 32 bytes in base64 or hexadecimal, by which secrets are encrypted at rest. Required on the cluster engines;
        /// the embedded engine makes one beside its data at first start. Lose it and every stored secret is lost.
        master_key: Secret,
        /// The admin key, at least 20 characters. If absent, one is made at first start and printed once.
        admin_key: Secret,
    }
}

section! {
    /// What the process says about itself.
    Logs = "log" {
        /// `human`, `json`, or `auto`: human on a terminal, JSON otherwise.
        format: LogFormatSetting = "\"auto\"",
        /// `error`, `warn`, `info`, `debug`, or directives such as `info,postrider_delivery_worker=debug`.
        level: String = "\"info\"",
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormatSetting {
    Auto,
    Human,
    Json,
}

/// Which roles a process has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Roles {
    pub ingest: bool,
    pub worker: bool,
    pub status: bool,
    pub manage: bool,
}

impl Roles {
    #[must_use]
    pub fn are_all(self) -> bool {
        self.ingest && self.worker && self.status && self.manage
    }
}

impl std::fmt::Display for Roles {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let named = [
            (self.ingest, "ingest"),
            (self.worker, "worker"),
            (self.status, "status"),
            (self.manage, "manage"),
        ];
        let names: Vec<&str> = named.iter().filter(|(is_set, _)| *is_set).map(|(_, name)| *name).collect();
        f.write_str(&names.join(","))
    }
}

impl<'de> serde::Deserialize<'de> for Roles {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let mut roles = Roles { ingest: false, worker: false, status: false, manage: false };
        for name in text.split(',').map(str::trim) {
            match name {
                "ingest" => roles.ingest = true,
                "worker" => roles.worker = true,
                "status" => roles.status = true,
                "manage" => roles.manage = true,
                other => {
                    let detail =
                        format!("no role is called {other:?}; there are ingest, worker, status and manage");
                    return Err(serde::de::Error::custom(detail));
                }
            }
        }
        Ok(roles)
    }
}

/// What settings are read for: decides which of them must be there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// Running roles, and looking at what they would run with.
    Serve,
    /// The schema: the store, or the files of the embedded engine.
    Migrate,
    /// The broker's objects: the queue alone.
    Topology,
}

/// All settings of a server.
#[derive(Clone, Debug)]
pub struct Settings {
    pub server: Server,
    pub engine: Engine,
    pub egress: Egress,
    pub ingest: Ingest,
    pub worker: Worker,
    pub status: StatusSection,
    pub manage: Management,
    pub security: Security,
    pub log: Logs,
    pub(super) effective: Vec<(Declared, Option<toml::Value>)>,
}

impl Settings {
    pub(super) fn read(
        file: toml::Table,
        variables: BTreeMap<String, String>,
        flags: BTreeMap<&'static str, String>,
        purpose: Purpose,
    ) -> Result<Self, SettingsError> {
        let mut reader = Reader::new(file, variables, flags);
        let server = Server::read(&mut reader);
        let engine = Engine::read(&mut reader);
        let egress = Egress::read(&mut reader);
        let ingest = Ingest::read(&mut reader);
        let worker = Worker::read(&mut reader);
        let status = StatusSection::read(&mut reader);
        let manage = Management::read(&mut reader);
        let security = Security::read(&mut reader);
        let log = Logs::read(&mut reader);
        reader.finish();
        if let (Some(server), Some(engine), Some(security)) = (&server, &engine, &security) {
            check_each(engine, security, &mut reader);
            check_times(engine, &mut reader);
            check_ending(server, &mut reader);
            match purpose {
                Purpose::Serve => check_together(server, engine, security, &mut reader),
                // A queue alone means a cluster: migrating the embedded engine's files would be a surprise.
                Purpose::Migrate if engine.queue.is_some() && engine.store.is_none() => {
                    reader.refuse("engine.store", "must be set together with engine.queue");
                }
                Purpose::Migrate | Purpose::Topology => {}
            }
        }
        if let (Some(ingest), Some(worker), Some(status)) = (&ingest, &worker, &status) {
            check_bounds(ingest, worker, status, &mut reader);
        }
        let effective = std::mem::take(&mut reader.effective);
        let all = (server, engine, egress, ingest, worker, status, manage, security, log);
        match all {
            (
                Some(server),
                Some(engine),
                Some(egress),
                Some(ingest),
                Some(worker),
                Some(status),
                Some(manage),
                Some(security),
                Some(log),
            ) if reader.problems.0.is_empty() => Ok(Settings {
                server,
                engine,
                egress,
                ingest,
                worker,
                status,
                manage,
                security,
                log,
                effective,
            }),
            _ => Err(SettingsError::Invalid(reader.problems)),
        }
    }

    /// How long the API still takes requests after a process was told to end.
    pub fn drain_delay(&self) -> Duration {
        /// What balancers commonly need: three probes of some 2 s, or two of 5.
        const NOTICED: Duration = Duration::from_secs(10);
        let is_one_of_several = self.engine.queue.is_some() && !self.server.dev;
        let has_callers = self.server.roles.ingest || self.server.roles.manage;
        match self.server.drain_delay {
            Some(delay) => delay.duration(),
            None if is_one_of_several && has_callers => NOTICED.min(self.server.grace.duration() / 2),
            None => Duration::ZERO,
        }
    }

    /// Every declared setting, section by section, with the section's name.
    pub(super) fn declared() -> Vec<(&'static str, Vec<Declared>)> {
        vec![
            (Server::SECTION, Server::declared()),
            (Engine::SECTION, Engine::declared()),
            (Egress::SECTION, Egress::declared()),
            (Ingest::SECTION, Ingest::declared()),
            (Worker::SECTION, Worker::declared()),
            (StatusSection::SECTION, StatusSection::declared()),
            (Management::SECTION, Management::declared()),
            (Security::SECTION, Security::declared()),
            (Logs::SECTION, Logs::declared()),
        ]
    }
}

/// The forms that no type of a setting knows.
fn check_each(engine: &Engine, security: &Security, reader: &mut Reader) {
    const SHORTEST_ADMIN_KEY: usize = 20;
    let begins = |url: &Option<Secret>, schemes: &[&str]| {
        url.as_ref().is_none_or(|url| schemes.iter().any(|scheme| url.reveal().starts_with(scheme)))
    };
    if !begins(&engine.queue, &["amqp://", "amqps://"]) {
        reader.refuse("engine.queue", "must begin with amqp:// or amqps://");
    }
    if !begins(&engine.store, &["postgres://", "postgresql://"]) {
        reader.refuse("engine.store", "must begin with postgres://");
    }
    if let Some(Err(error)) = security.master_key.as_ref().map(|key| key.reveal().parse::<MasterKey>()) {
        let detail = format!("{error}; `openssl rand -base64 32` makes one (POSTRIDER_MASTER_KEY)");
        reader.refuse("security.master_key", detail);
    }
    if security.admin_key.as_ref().is_some_and(|key| key.reveal().len() < SHORTEST_ADMIN_KEY) {
        reader.refuse("security.admin_key", format!("must be at least {SHORTEST_ADMIN_KEY} characters long"));
    }
}

/// How long the store may be waited for.
fn check_times(engine: &Engine, reader: &mut Reader) {
    let (tenth, minute) = (Duration::from_millis(100), Duration::from_secs(60));
    if !(tenth..=minute).contains(&engine.store_query_time.duration()) {
        reader.refuse("engine.store_query_time", "must be from 100ms to 1m");
    }
    if !(Duration::from_secs(1)..=minute * 10).contains(&engine.store_write_time.duration()) {
        reader.refuse("engine.store_write_time", "must be from 1s to 10m");
    }
    if !(tenth..=minute).contains(&engine.store_connect_time.duration()) {
        reader.refuse("engine.store_connect_time", "must be from 100ms to 1m");
    }
}

fn check_ending(server: &Server, reader: &mut Reader) {
    let too_long = |delay: Duration| !delay.is_zero() && delay >= server.grace.duration();
    if server.drain_delay.is_some_and(|delay| too_long(delay.duration())) {
        reader.refuse("server.drain_delay", "must be shorter than server.grace");
    }
}

/// Values that could be read but not worked with.
fn check_bounds(ingest: &Ingest, worker: &Worker, status: &StatusSection, reader: &mut Reader) {
    const SLOTS: std::ops::RangeInclusive<u16> = 5..=16_384;
    const WINDOW: std::ops::RangeInclusive<u16> = 1..=4_096;
    // An event id that is forgotten within its day would be counted twice in that day's ledger.
    const SHORTEST_MEMORY: Duration = Duration::from_secs(86_400);
    const SHORTEST_OVERDUE: Duration = Duration::from_secs(10);
    if !SLOTS.contains(&worker.slots.get()) {
        reader.refuse("worker.slots", "must be from 5 to 16384");
    }
    if !WINDOW.contains(&worker.window.get()) {
        reader.refuse("worker.window", "must be from 1 to 4096");
    }
    if ingest.remember_keys.duration() < SHORTEST_MEMORY {
        reader.refuse("ingest.remember_keys", "must be at least 24h");
    }
    if status.overdue_after.duration() < SHORTEST_OVERDUE {
        reader.refuse("status.overdue_after", "must be at least 10s");
    }
}

/// What roles need of engines and engines of each other.
fn check_together(server: &Server, engine: &Engine, security: &Security, reader: &mut Reader) {
    match (&engine.queue, &engine.store) {
        (Some(_), Some(_)) if security.master_key.is_none() => {
            let detail = "is required on the cluster engines, the same in every process; \
                          `openssl rand -base64 32` makes one (POSTRIDER_MASTER_KEY)";
            reader.refuse("security.master_key", detail);
        }
        (None, None) if !server.roles.are_all() => {
            let detail = "the embedded engine runs all roles in one process; for single roles set engine.queue \
                          (--queue amqp://…) and engine.store (--store postgres://…)";
            reader.refuse("server.roles", detail);
        }
        (Some(_), Some(_)) | (None, None) => {}
        (Some(_), None) => reader.refuse("engine.store", "must be set together with engine.queue"),
        (None, Some(_)) => reader.refuse("engine.queue", "must be set together with engine.store"),
    }
}

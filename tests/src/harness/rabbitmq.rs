//! A private RabbitMQ: a broker as a child process on free loopback ports, its data in a temporary folder.
//!
//! It has a port mapper (epmd) of its own, which is a child too, ignores the machine's configuration, needs no
//! plugin, and runs the same as root and as any other user. Readiness is an AMQP handshake.

mod cluster;
mod config;
mod half_made;
mod post_mortem;
pub mod shipped;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use lapin::{Connection, ConnectionProperties};
use tokio::net::TcpStream;

use super::certificates::{Certificates, TlsSetup};
use super::deadline::eventually;
use super::folder::TempFolder;
use super::port::PortLease;
use super::process::{Launch, Process};
use super::signal::{self, Signal};

pub use cluster::RabbitMqCluster;
use config::Membership;

/// How long a start may take: about 5 s on a quiet machine, 100 s seen on a very busy one.
const START: Duration = Duration::from_secs(240);
/// How long an orderly stop may take; 1 to 2 s are usual.
const STOP: Duration = Duration::from_secs(60);
/// How long one administrative command may take; 0.3 s quiet, 8 s seen.
const COMMAND: Duration = Duration::from_secs(60);
/// Virtual hosts made at start, where one costs about 25 ms; later ones cost an administrative command each.
const VIRTUAL_HOSTS: usize = 32;

/// What a test may want otherwise than it is by default.
#[derive(Debug, Clone)]
pub struct Knobs {
    /// How many expired messages an at-least-once lane moves at a time. The broker's own default of 32 makes
    /// bursts of retries late by seconds.
    pub dead_letter_prefetch: u16,
    /// After how long a message that left its lane and was refused is handed over again; the broker's own default is
    /// three minutes, which a test of a lost node may have to wait out.
    pub dead_letter_again: Duration,
    /// How long a delivery may stay unacknowledged before the broker closes its channel; the broker's own
    /// default is 30 minutes. A set one is enforced within a second.
    pub consumer_timeout: Option<Duration>,
    /// The settings that are shipped in `deploy/rabbitmq`, in place of those that suit a small machine full of tests
    /// and of the two above.
    pub is_shipped: bool,
    /// What its certificate for `amqps` is like; without, it speaks plain AMQP alone.
    pub tls: Option<TlsSetup>,
    /// Further lines of `rabbitmq.conf`.
    pub configuration: Vec<String>,
}

impl Default for Knobs {
    fn default() -> Self {
        Self {
            dead_letter_prefetch: 512,
            dead_letter_again: Duration::from_secs(30),
            consumer_timeout: None,
            tls: None,
            is_shipped: false,
            configuration: Vec::new(),
        }
    }
}

/// A running, killed or stopped private broker. Dropping it ends everything that belongs to it.
#[derive(Debug)]
pub struct RabbitMq {
    // The order of these is the order in which they end: the broker before its port mapper, both before the folder.
    broker: Option<Process>,
    mapper: Arc<PortMapper>,
    ports: Ports,
    programs: PathBuf,
    next_virtual_host: AtomicUsize,
    secured: Option<Secured>,
    folder: TempFolder,
}

/// Its second way in.
#[derive(Debug)]
struct Secured {
    port: PortLease,
    certificates: Certificates,
}

#[derive(Debug)]
struct Ports {
    amqp: PortLease,
    distribution: PortLease,
}

/// Where nodes and commands ask for each other's ports (epmd).
#[derive(Debug)]
struct PortMapper {
    process: Process,
    port: PortLease,
    _folder: TempFolder,
}

impl PortMapper {
    fn start() -> Result<Arc<Self>> {
        let (folder, port) = (TempFolder::new("epmd")?, PortLease::take()?);
        let process = Launch::new("epmd", "epmd", folder.path())
            .args(["-port", &port.number().to_string(), "-address", "127.0.0.1"])
            .spawn()
            .context("starting a port mapper")?;
        Ok(Arc::new(Self { process, port, _folder: folder }))
    }
}

impl RabbitMq {
    /// Starts one as it usually is.
    pub async fn start() -> Result<Self> {
        Self::start_with(&Knobs::default()).await
    }

    /// Starts one that is set up as `knobs` say.
    pub async fn start_with(knobs: &Knobs) -> Result<Self> {
        let mut server = Self::prepare(PortMapper::start()?)?;
        server.secured = knobs.tls.as_ref().map(Secured::make).transpose()?;
        let mut knobs = knobs.clone();
        knobs.configuration.extend(server.secured.iter().flat_map(Secured::configuration));
        server.configure(&knobs, &Membership::Alone, VIRTUAL_HOSTS)?;
        server.launch().await?;
        Ok(server)
    }

    /// One that has its ports and its folder, and is not started.
    fn prepare(mapper: Arc<PortMapper>) -> Result<Self> {
        let ports = Ports { amqp: PortLease::take()?, distribution: PortLease::take()? };
        Ok(Self {
            broker: None,
            mapper,
            ports,
            programs: find_programs()?,
            next_virtual_host: AtomicUsize::new(0),
            secured: None,
            folder: TempFolder::new("rabbitmq")?,
        })
    }

    fn configure(&self, knobs: &Knobs, membership: &Membership, virtual_hosts: usize) -> Result<()> {
        config::write(self.folder.path(), knobs, membership, virtual_hosts)
            .context("writing the broker's configuration")
    }

    /// The URL of the default virtual host, `/`.
    pub fn url(&self) -> String {
        self.url_of("%2f")
    }

    /// With TLS, the URL of the default virtual host by the name `localhost`, and the file of the authority to trust.
    pub fn tls_url(&self) -> Option<(String, &Path)> {
        let Secured { port, certificates } = self.secured.as_ref()?;
        Some((format!("amqps://guest:guest@localhost:{}/%2f", port.number()), certificates.authority()))
    }

    /// The URL of a virtual host that no test was given before: complete isolation, whatever the names used.
    pub async fn vhost(&self) -> Result<String> {
        let number = self.next_virtual_host.fetch_add(1, Ordering::Relaxed);
        let name = config::virtual_host(number);
        if number >= VIRTUAL_HOSTS {
            self.ctl(&["add_vhost", &name]).await?;
            self.ctl(&["set_permissions", "-p", &name, "guest", ".*", ".*", ".*"]).await?;
        }
        Ok(self.url_of(&name))
    }

    /// Runs `rabbitmqctl`, for what AMQP cannot do (alarms, closing other people's connections), and returns
    /// what it printed. Costs up to some seconds.
    pub async fn ctl(&self, arguments: &[&str]) -> Result<String> {
        let folder = TempFolder::new("rabbitmqctl")?;
        let program = self.programs.join("rabbitmqctl");
        let launch = self
            .surroundings(Launch::new("rabbitmqctl", program, folder.path()))
            .args(["--quiet", "--node", &self.node()])
            .args(arguments);
        launch.run(COMMAND).await.with_context(|| format!("rabbitmqctl {}", arguments.join(" ")))?;
        Ok(std::fs::read_to_string(launch.output())?)
    }

    /// Waits until these quorum queues of the virtual host at `url` would survive [`Self::kill`].
    ///
    /// A 3.10 broker confirms the declaration of a quorum queue, and messages in it, before it has written down
    /// which log on disk is the queue's: that is written about a second later. A broker killed in between
    /// brings the queue back empty.
    pub async fn wait_until_kept(&self, url: &str, queues: &[impl AsRef<str>]) -> Result<()> {
        let node = self.node();
        let register = self.folder.join("mnesia").join(&node).join("quorum").join(&node).join("names.dets");
        let virtual_host = url.rsplit('/').next().unwrap_or_default().replace("%2f", "%2F");
        let entries: Vec<Vec<u8>> = queues
            .iter()
            .map(|queue| register_entry(&format!("{virtual_host}_{}", queue.as_ref())))
            .collect();
        eventually("the broker to write down its new queues", COMMAND, async || {
            let content =
                std::fs::read(&register).with_context(|| format!("reading {}", register.display()))?;
            let stands = |entry: &Vec<u8>| content.windows(entry.len()).any(|window| window == entry);
            Ok(entries.iter().all(stands).then_some(()))
        })
        .await
    }

    /// `kill -9`: what was confirmed is in the folder, nothing else is. Of queues just declared not even that,
    /// see [`Self::wait_until_kept`].
    pub fn kill(&mut self) -> Result<()> {
        match self.broker.take() {
            Some(mut broker) => broker.kill(),
            None => Ok(()),
        }
    }

    /// An orderly stop.
    pub async fn stop(&mut self) -> Result<()> {
        if let Some(mut broker) = self.broker.take() {
            broker.signal(Signal::Terminate)?;
            broker.wait(STOP).await.context("stopping the broker")?;
        }
        Ok(())
    }

    /// Starts it again on the same port with the same data; a running one is stopped in order first.
    pub async fn restart(&mut self) -> Result<()> {
        self.stop().await?;
        self.launch().await
    }

    /// Freezes it: connections stay open and nothing answers.
    pub fn freeze(&self) -> Result<()> {
        self.signal(Signal::Stop)
    }

    /// Lets a frozen one go on.
    pub fn thaw(&self) -> Result<()> {
        self.signal(Signal::Continue)
    }

    /// The ids of its processes.
    pub fn pids(&self) -> Vec<u32> {
        self.broker.iter().chain([&self.mapper.process]).map(Process::pid).collect()
    }

    /// Where its data, configuration and logs are.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    fn signal(&self, signal: Signal) -> Result<()> {
        let broker = self.broker.as_ref().context("the broker is not running")?;
        signal::send(broker.pid(), signal).with_context(|| format!("sending {} to the broker", signal.name()))
    }

    fn url_of(&self, virtual_host: &str) -> String {
        format!("amqp://guest:guest@127.0.0.1:{}/{virtual_host}", self.ports.amqp.number())
    }

    fn node(&self) -> String {
        // `@localhost`, so that nothing depends on the machine's name being known to itself.
        format!("postrider{}@localhost", self.ports.amqp.number())
    }

    async fn launch(&mut self) -> Result<()> {
        let program = self.programs.join("rabbitmq-server");
        let launch = self.surroundings(Launch::new("broker", program, self.folder.path()));
        let mut broker = launch.spawn().context("starting the broker")?;
        let (port, url) = (self.ports.amqp.number(), self.url());
        let ready = eventually("the broker to answer", START, async || {
            broker.ensure_running()?;
            if TcpStream::connect(("127.0.0.1", port)).await.is_err() {
                return Ok(None);
            }
            let Ok(connection) = Connection::connect(&url, ConnectionProperties::default()).await else {
                return Ok(None);
            };
            connection.close(200, "ready".into()).await.ok();
            if let Some(Secured { port, .. }) = &self.secured
                && TcpStream::connect(("127.0.0.1", port.number())).await.is_err()
            {
                return Ok(None);
            }
            Ok(Some(()))
        });
        ready.await.context("starting RabbitMQ")?;
        self.broker = Some(broker);
        Ok(())
    }

    fn surroundings(&self, launch: Launch) -> Launch {
        let folder = self.folder.path();
        launch
            // The cookie by which nodes and commands recognise each other is kept here.
            .env("HOME", folder.join("home"))
            .env("RABBITMQ_NODENAME", self.node())
            .env("RABBITMQ_NODE_IP_ADDRESS", "127.0.0.1")
            .env("RABBITMQ_NODE_PORT", self.ports.amqp.number().to_string())
            .env("RABBITMQ_DIST_PORT", self.ports.distribution.number().to_string())
            .env("ERL_EPMD_PORT", self.mapper.port.number().to_string())
            .env("ERL_EPMD_ADDRESS", "127.0.0.1")
            .env("RABBITMQ_MNESIA_BASE", folder.join("mnesia"))
            .env("RABBITMQ_LOG_BASE", folder.join("log"))
            .env("RABBITMQ_PID_FILE", folder.join("pid"))
            .env("RABBITMQ_ENABLED_PLUGINS_FILE", folder.join("enabled_plugins"))
            .env("RABBITMQ_CONFIG_FILE", folder.join("rabbitmq"))
            .env("RABBITMQ_ADVANCED_CONFIG_FILE", folder.join("advanced.config"))
            .env("RABBITMQ_CONF_ENV_FILE", "/dev/null")
            // Without this the port between nodes listens on every interface; the port mapper is ours already.
            .env(
                "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS",
                "-kernel inet_dist_use_interface {127,0,0,1} -start_epmd false",
            )
            // Makes the start script become the broker instead of staying as its parent, so that the id is the broker's.
            .env("RUNNING_UNDER_SYSTEMD", "true")
    }
}

impl Secured {
    fn make(setup: &TlsSetup) -> Result<Self> {
        Ok(Self { port: PortLease::take()?, certificates: Certificates::make(setup)? })
    }

    fn configuration(&self) -> Vec<String> {
        let certificates = &self.certificates;
        vec![
            format!("listeners.ssl.default = 127.0.0.1:{}", self.port.number()),
            format!("ssl_options.cacertfile = {}", certificates.authority().display()),
            format!("ssl_options.certfile = {}", certificates.certificate().display()),
            format!("ssl_options.keyfile = {}", certificates.key().display()),
        ]
    }
}

/// The name of the virtual host at `url`.
fn virtual_host_of(url: &str) -> String {
    url.rsplit('/').next().unwrap_or_default().replace("%2f", "/")
}

/// How a name stands in the broker's register: after its length, so that one name is not found within another.
fn register_entry(name: &str) -> Vec<u8> {
    // Names are shorter than 256 bytes, AMQP's limit; of a longer one the lowest byte would stand there.
    let length = name.len().to_be_bytes().last().copied().unwrap_or_default();
    [&[length], name.as_bytes()].concat()
}

/// The folder with RabbitMQ's own scripts. The ones on the search path are wrappers that insist on a certain user.
fn find_programs() -> Result<PathBuf> {
    let mut candidates = vec![PathBuf::from("/usr/lib/rabbitmq/bin")];
    if let Ok(versions) = std::fs::read_dir("/usr/lib/rabbitmq/lib") {
        candidates.extend(versions.flatten().map(|version| version.path().join("sbin")));
    }
    candidates.push(PathBuf::from("/opt/rabbitmq/sbin"));
    match candidates.into_iter().find(|folder| folder.join("rabbitmq-server").exists()) {
        Some(folder) => Ok(folder),
        None => bail!("RabbitMQ is not installed; run tests/install-services.sh"),
    }
}

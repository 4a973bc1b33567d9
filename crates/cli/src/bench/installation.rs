//! The installation under load: one that runs already, or one of the bench's own.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::OnceLock;
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper_util::rt::TokioIo;
use postrider_contract::clock::{Clock, Entropy};
use postrider_service::system::{SystemClock, SystemEntropy};
use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpStream};
use tokio::process::{Child, ChildStdin, Command};
use tokio::time::Instant;

use super::cpu::Watched;

const START: Duration = Duration::from_secs(60);
const STOP: Duration = Duration::from_secs(40);
/// How long the log may take for what it is behind after a load.
const LOG: Duration = Duration::from_secs(120);
const LOOK_AT_LOG: Duration = Duration::from_millis(250);

pub struct Installation {
    /// Where tenants and webhooks are made.
    manage: SocketAddr,
    publish: Vec<SocketAddr>,
    admin_key: String,
    engine: Option<EngineGiven>,
    servers: Vec<Started>,
    folder: Option<PathBuf>,
}

/// What the processes run on.
#[derive(Clone, Debug)]
pub enum EngineGiven {
    /// In the installation's own folder.
    Embedded,
    Cluster {
        queue: String,
        store: String,
        /// What sets it apart from other installations on the same broker.
        prefix: Option<String>,
    },
}

/// How the roles are spread over processes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Layout {
    OneProcess,
    /// So many processes of each role; on the cluster engines alone, like those that follow.
    OfEachRole(u8),
    /// One manage, one ingest, and so many workers and status processes.
    Workers(u8),
    /// One of each role but the worker, which is added later.
    WithoutWorkers,
}

impl Layout {
    /// How many processes of each role; `None` for one process that has all roles.
    fn roles(self) -> Option<[(&'static str, u8); 4]> {
        let (first, workers, status) = match self {
            Layout::OneProcess => return None,
            Layout::OfEachRole(count) => (count, count, count),
            Layout::Workers(count) => (1, count, count),
            Layout::WithoutWorkers => (1, 0, 1),
        };
        Some([("manage", first), ("ingest", first), ("worker", workers), ("status", status)])
    }
}

/// Who publishes, and whose webhooks get it.
#[derive(Clone, Debug)]
pub struct Tenant {
    pub id: String,
    /// Its scopes are publish and read.
    pub key: String,
}

/// A webhook to be made.
#[derive(Clone, Debug)]
pub struct Subscription {
    url: String,
    event_type: String,
}

impl Subscription {
    pub fn new(url: String, event_type: &str) -> Self {
        Subscription { url, event_type: event_type.to_owned() }
    }
}

struct Started {
    name: String,
    child: Child,
    /// The process ends when it is closed: with this one, even if this one is killed. Not left to `child`, which closes
    /// it as soon as its end is waited for: that would be a second signal, and cut short what the first one began.
    _input: Option<ChildStdin>,
}

impl Installation {
    /// # Errors
    /// When the URL is not `http://ADDRESS:PORT`.
    pub fn running(url: &str, admin_key: &str) -> anyhow::Result<Self> {
        let address = url.strip_prefix("http://").unwrap_or(url).trim_end_matches('/');
        let address =
            address.parse().with_context(|| format!("--against {url}: expected http://ADDRESS:PORT"))?;
        Ok(Installation {
            manage: address,
            publish: vec![address],
            admin_key: admin_key.to_owned(),
            engine: None,
            servers: Vec::new(),
            folder: None,
        })
    }

    /// # Errors
    /// When a process does not start; with what it said last.
    pub async fn start(engine: EngineGiven, layout: Layout) -> anyhow::Result<Self> {
        let mut installation = Self::empty(engine).await?;
        let Some(roles) = layout.roles() else {
            installation.resume().await?;
            return Ok(installation);
        };
        installation.publish.clear();
        for (role, count) in roles {
            for number in 0..count {
                let address = match (role, number) {
                    ("manage", 0) => installation.manage,
                    _ => free_address().await?,
                };
                if role == "ingest" {
                    installation.publish.push(address);
                }
                installation.launch(role, Some(role), address).await?;
            }
        }
        Ok(installation)
    }

    /// One more process of a role.
    ///
    /// # Errors
    /// When it does not start; with what it said last.
    pub async fn add(&mut self, role: &str) -> anyhow::Result<()> {
        self.launch(role, Some(role), free_address().await?).await
    }

    async fn empty(engine: EngineGiven) -> anyhow::Result<Self> {
        let address = free_address().await?;
        let key = one_key().to_owned();
        let mut random = [0_u8; 6];
        SystemEntropy.fill(&mut random);
        let name = hex::encode(random);
        let folder = std::env::temp_dir().join(format!("postrider-bench-{name}"));
        std::fs::create_dir(&folder).with_context(|| format!("making {}", folder.display()))?;
        let (manage, publish) = (address, vec![address]);
        Ok(Installation {
            manage,
            publish,
            admin_key: key,
            engine: Some(engine),
            servers: Vec::new(),
            folder: Some(folder),
        })
    }

    fn folder(&self) -> &Path {
        self.folder.as_deref().unwrap_or(Path::new("."))
    }

    /// By variables: the URLs hold passwords, and arguments are for everybody to see.
    fn give_engine(&self, command: &mut Command, engine: &EngineGiven) {
        const QUEUE: &str = "POSTRIDER_ENGINE_QUEUE";
        const STORE: &str = "POSTRIDER_ENGINE_STORE";
        const PREFIX: &str = "POSTRIDER_ENGINE_QUEUE_PREFIX";
        command.env_remove(QUEUE).env_remove(STORE).arg("serve");
        match engine {
            EngineGiven::Embedded => command.arg("--data").arg(self.folder().join("data")),
            EngineGiven::Cluster { queue, store, prefix } => {
                command.envs(prefix.iter().map(|prefix| (PREFIX, prefix)));
                command.env(QUEUE, queue).env(STORE, store)
            }
        };
    }

    async fn launch(&mut self, name: &str, role: Option<&str>, address: SocketAddr) -> anyhow::Result<()> {
        let engine =
            self.engine.clone().context("it was not started by the bench, and nothing can be added")?;
        let log = self.folder().join(format!("{name}-{}.log", address.port()));
        let file = std::fs::File::create(&log).with_context(|| format!("making {}", log.display()))?;
        let mut command = Command::new(std::env::current_exe().context("finding this program")?);
        self.give_engine(&mut command, &engine);
        let mut child = command
            .args(["--dev", "--until-input-ends", "--log-level", "warn", "--listen", &address.to_string()])
            .args(role.map(|role| ["--role", role]).into_iter().flatten())
            // Where there is no configuration file of somebody else's.
            .current_dir(self.folder())
            .env_remove("POSTRIDER_CONFIG")
            .env("POSTRIDER_ADMIN_KEY", &self.admin_key)
            // 32 bytes in hexadecimal; what it seals lives as long as the bench.
            .env("POSTRIDER_MASTER_KEY", &self.admin_key)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(file)
            .kill_on_drop(true)
            .spawn()
            .context("starting a process")?;
        let input = child.stdin.take();
        self.servers.push(Started { name: name.to_owned(), child, _input: input });
        let ends_at = Instant::now() + START;
        while call(address, "GET", "/readyz", "", &Value::Null).await.is_err() {
            let server = self.servers.last_mut().context("just started")?;
            let has_ended = server.child.try_wait().context("looking at a process")?.is_some();
            if has_ended || Instant::now() >= ends_at {
                let said = std::fs::read_to_string(&log).unwrap_or_default();
                bail!("the installation did not start: {}", said.lines().last().unwrap_or("no word from it"));
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        Ok(())
    }

    pub fn processes(&self) -> Vec<Watched> {
        let watched = |server: &Started| Some(Watched::new(&server.name, server.child.id()?));
        self.servers.iter().filter_map(watched).collect()
    }

    /// Of every process that takes events in.
    pub fn publish_addresses(&self) -> Vec<SocketAddr> {
        self.publish.clone()
    }

    /// A tenant of a profile, and a key of its own.
    ///
    /// # Errors
    /// What the installation answers.
    pub async fn tenant(&self, profile: &str) -> anyhow::Result<Tenant> {
        let tenant =
            self.admin("POST", "/v1/tenants", &json!({"name": "bench", "profile": profile}), "").await?;
        let id = tenant["id"].as_str().context("a tenant without id")?.to_owned();
        let wanted = json!({"name": "bench", "scopes": ["publish", "read"]});
        let key = self.admin("POST", &format!("/v1/tenants/{id}/keys"), &wanted, "").await?;
        let key = key["key"].as_str().context("a key without text")?.to_owned();
        Ok(Tenant { id, key })
    }

    /// Registers a webhook; answers its id.
    ///
    /// # Errors
    /// What the installation answers.
    pub async fn webhook(&self, tenant: &Tenant, wanted: Subscription) -> anyhow::Result<String> {
        let body = json!({"name": "bench", "url": wanted.url, "events": [wanted.event_type]});
        let made = self.for_tenant(tenant, "POST", "/v1/webhooks", &body).await?;
        Ok(made["id"].as_str().context("a webhook without id")?.to_owned())
    }

    /// Waits until the log holds everything that happened up to now.
    ///
    /// # Errors
    /// What the installation answers, or that the log does not come that far.
    pub async fn wait_for_log(&self) -> anyhow::Result<()> {
        let (now, started) = (SystemClock.now(), Instant::now());
        // A window of one millisecond, so that counting costs nothing.
        let window = format!("since={}&until={now}", now.minus(Duration::from_millis(1)));
        let path = format!("/v1/ledger?{window}");
        loop {
            let ledger = self.admin("GET", &path, &Value::Null, "").await?;
            if ledger["settling"] == json!(false) {
                return Ok(());
            }
            ensure!(started.elapsed() < LOG, "the log is not written {LOG:?} after the load: {ledger}");
            tokio::time::sleep(LOOK_AT_LOG).await;
        }
    }

    /// One request of the admin's on behalf of a tenant.
    ///
    /// # Errors
    /// What the installation answers.
    pub async fn for_tenant(
        &self,
        tenant: &Tenant,
        method: &str,
        path: &str,
        body: &Value,
    ) -> anyhow::Result<Value> {
        self.admin(method, path, body, &format!("postrider-tenant: {}", tenant.id)).await
    }

    async fn admin(&self, method: &str, path: &str, body: &Value, more: &str) -> anyhow::Result<Value> {
        let headers = format!("authorization: Bearer {}\n{more}", self.admin_key);
        call(self.manage, method, path, &headers, body).await.with_context(|| format!("{method} {path}"))
    }

    /// Waits until every process knows of what was registered: others hear of it within a second.
    pub async fn spread_the_word(&self) {
        tokio::time::sleep(Duration::from_millis(1_500)).await;
    }

    /// Starts an installation of one process again, after it was halted: it goes on with what it had written down.
    ///
    /// # Errors
    /// When the process does not start; with what it said last.
    pub async fn resume(&mut self) -> anyhow::Result<()> {
        self.launch("postrider", None, self.manage).await
    }

    /// Ends the processes and keeps what they wrote down.
    pub async fn halt(&mut self) {
        for server in &mut self.servers {
            if let Some(pid) = server.child.id().and_then(|pid| libc::pid_t::try_from(pid).ok()) {
                terminate(pid);
            }
        }
        for server in &mut self.servers {
            if tokio::time::timeout(STOP, server.child.wait()).await.is_err() {
                eprintln!("{} did not end in time and is killed", server.name);
                drop(server.child.kill().await);
            }
        }
        self.servers.clear();
    }

    /// Ends what was started, and removes its folder.
    pub async fn stop(&mut self) {
        self.halt().await;
        if let Some(folder) = self.folder.take() {
            drop(std::fs::remove_dir_all(folder));
        }
    }
}

/// For every installation of this process alike: what one has sealed in a database, the next can read. 32 bytes in
/// hexadecimal.
fn one_key() -> &'static str {
    static KEY: OnceLock<String> = OnceLock::new();
    KEY.get_or_init(|| {
        let mut random = [0_u8; 32];
        SystemEntropy.fill(&mut random);
        hex::encode(random)
    })
}

#[expect(unsafe_code, reason = "a signal to a child that has not been waited for: the id is still its own")]
fn terminate(pid: libc::pid_t) {
    // SAFETY: `kill` takes two integers and touches no memory of ours.
    unsafe {
        libc::kill(pid, libc::SIGTERM);
    }
}

async fn free_address() -> anyhow::Result<SocketAddr> {
    let listener = TcpListener::bind("127.0.0.1:0").await.context("finding a free port")?;
    listener.local_addr().context("finding a free port")
}

/// One request; `headers` are lines. Anything but success is an error.
async fn call(
    address: SocketAddr,
    method: &str,
    path: &str,
    headers: &str,
    body: &Value,
) -> anyhow::Result<Value> {
    let stream = TcpStream::connect(address).await?;
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    tokio::spawn(async move { drop(connection.await) });
    let mut request = http::Request::builder().method(method).uri(path).header("host", address.to_string());
    for (name, value) in headers.lines().filter_map(|line| line.split_once(": ")) {
        request = request.header(name, value);
    }
    let bytes = if body.is_null() { Bytes::new() } else { Bytes::from(body.to_string()) };
    let request = request.header("content-type", "application/json").body(Full::new(bytes))?;
    let answer = sender.send_request(request).await?;
    let status = answer.status();
    let text = answer.into_body().collect().await?.to_bytes();
    ensure!(status.is_success(), "{status}: {}", String::from_utf8_lossy(&text));
    Ok(serde_json::from_slice(&text).unwrap_or(Value::Null))
}

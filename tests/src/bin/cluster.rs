//! `make cluster`: RabbitMQ and PostgreSQL as private child processes of this one, and two processes of each role
//! in front of them, all on this machine.
//!
//! For looking and trying, not for production: one node of each server, data in a temporary folder, development
//! mode. Everything ends with this process, however it ends.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use postrider_contract::clock::Entropy;
use postrider_service::key_text::{KeyHolder, draw_key};
use postrider_service::system::SystemEntropy;
use postrider_tests::harness::process::{Launch, Process};
use postrider_tests::harness::signal::Signal;
use postrider_tests::harness::{Api, Postgres, RabbitMq, TempFolder, eventually};
use tokio::signal::unix::{SignalKind, signal};

const FIRST_PORT: u16 = 8080;
/// Two of each; the first serves every route of the API.
const ROLES: [&str; 8] = ["manage", "manage", "ingest", "ingest", "worker", "worker", "status", "status"];
/// How long a process may take until it is ready; the first has migrations and topology to make.
const READY: Duration = Duration::from_secs(120);
/// How often it is looked whether everything still runs.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// What all processes of the installation are told.
struct Installation {
    postrider: PathBuf,
    queue: String,
    store: String,
    master_key: String,
    admin_key: String,
    logs: TempFolder,
}

/// One process of Postrider.
struct Member {
    role: &'static str,
    address: SocketAddr,
    process: Process,
}

#[tokio::main]
async fn main() -> Result<()> {
    let postrider = postrider_binary()?;
    let addresses: Vec<SocketAddr> =
        (FIRST_PORT..).take(ROLES.len()).map(|port| SocketAddr::from((Ipv4Addr::LOCALHOST, port))).collect();
    for address in &addresses {
        TcpListener::bind(address).with_context(|| format!("{address} is in use; the cluster needs it"))?;
    }
    let mut end = signal(SignalKind::interrupt())?;
    let mut terminated = signal(SignalKind::terminate())?;
    tokio::select! {
        result = run(postrider, &addresses) => return result,
        _ = end.recv() => {}
        _ = terminated.recv() => {}
    }
    println!("\nending");
    Ok(())
}

/// Never returns unless something failed: what it holds ends when it is dropped.
async fn run(postrider: PathBuf, addresses: &[SocketAddr]) -> Result<()> {
    println!("starting RabbitMQ and PostgreSQL");
    let (broker, database) = tokio::try_join!(RabbitMq::start(), Postgres::start())?;
    let installation = Installation {
        postrider,
        queue: broker.url(),
        store: database.create_database().await?,
        master_key: master_key(),
        admin_key: draw_key(KeyHolder::Admin, &SystemEntropy).reveal().to_owned(),
        logs: TempFolder::new("cluster")?,
    };
    println!("starting two processes of each role");
    let mut members: Vec<Member> = Vec::new();
    for (role, address) in ROLES.into_iter().zip(addresses) {
        members.push(installation.start(role, *address).await?);
    }
    installation.greet(&members);
    let mut looks = tokio::time::interval(LOOK_EVERY);
    loop {
        looks.tick().await;
        for member in &mut members {
            member
                .process
                .ensure_running()
                .with_context(|| format!("{} at {}", member.role, member.address))?;
        }
    }
}

impl Installation {
    async fn start(&self, role: &'static str, address: SocketAddr) -> Result<Member> {
        let name = format!("{role}-{}", address.port());
        let launch = Launch::new(&name, &self.postrider, self.logs.path())
            .args(["serve", "--dev", "--role", role, "--listen", &address.to_string()])
            .env("POSTRIDER_ENGINE_QUEUE", &self.queue)
            .env("POSTRIDER_ENGINE_STORE", &self.store)
            .env("POSTRIDER_MASTER_KEY", &self.master_key)
            .env("POSTRIDER_ADMIN_KEY", &self.admin_key)
            .end_with(Signal::Terminate);
        let mut process = launch.spawn().with_context(|| format!("starting {name}"))?;
        let api = Api::new(address);
        eventually(&format!("{name} to be ready"), READY, async || {
            process.ensure_running()?;
            Ok(api.get("/readyz").await.ok().filter(|answer| answer.status.is_success()).map(drop))
        })
        .await?;
        Ok(Member { role, address, process })
    }

    fn greet(&self, members: &[Member]) {
        println!("\nPostrider runs on RabbitMQ and PostgreSQL, for development only:");
        for member in members {
            println!("  {:<8} http://{}  (process {})", member.role, member.address, member.process.pid());
        }
        println!(
            "  queue    {}\n  store    {}\n  logs     {}",
            self.queue,
            self.store,
            self.logs.path().display()
        );
        println!("\nIn another terminal (the manage processes serve every route):");
        println!("  export POSTRIDER_URL=http://127.0.0.1:{FIRST_PORT}");
        println!("  export POSTRIDER_KEY={}", self.admin_key);
        println!("\nCtrl-C ends everything and removes its data.");
    }
}

/// The product, as the one argument names it.
fn postrider_binary() -> Result<PathBuf> {
    let path = std::env::args_os().nth(1).map(PathBuf::from).context("usage: cluster PATH-OF-POSTRIDER")?;
    std::path::absolute(&path)
        .ok()
        .filter(|path| path.is_file())
        .with_context(|| format!("{} is not there; `make cluster` builds it first", path.display()))
}

fn master_key() -> String {
    let mut key = [0_u8; 32];
    SystemEntropy.fill(&mut key);
    STANDARD.encode(key)
}

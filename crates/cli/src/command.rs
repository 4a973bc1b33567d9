//! The command line: what can be asked for, and who does it.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use clap::{Args, CommandFactory, FromArgMatches, Parser, Subcommand};
use postrider_service::system::{SystemClock, SystemEntropy};

use crate::assemble::{self, TopologyCommand};
use crate::bench::Bench;
use crate::client::{ClientCommand, Connection, Output, verdict};
use crate::config::{self, Purpose, Settings, Sources};
use crate::doctor::{DoctorFlags, examine_installation};
use crate::listen::Listen;
use crate::memory::refuse_huge_pages;
use crate::serve::{self, Ends};

/// Delivers webhooks: at least once, signed, retried by the receiver's own contract, one receiver never delaying
/// another, with a log that answers "where is my event?".
#[derive(Parser)]
#[command(
    name = "postrider",
    version,
    after_help = "First steps:\n  postrider serve --dev            everything on this machine, nothing to install\n  \
                  postrider listen                 a receiver that shows what arrives\n  \
                  postrider tenants create --help  and on from there\n\n\
                  Exit codes: 0 done, 1 refused or failed, 2 wrong usage, 3 the server cannot be reached."
)]
struct CommandLine {
    #[command(flatten)]
    connection: Connection,
    /// How the client commands print
    #[arg(
        long,
        global = true,
        value_enum,
        default_value_t,
        value_name = "FORM",
        help_heading = "Connection"
    )]
    output: Output,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run the roles of this process: take events in, deliver them, keep the log, serve the API
    Serve(ServeFlags),
    /// Bring the store's schema up to date
    Migrate(EngineFlags),
    /// Declare, check or print the exchanges and queues
    Topology {
        #[command(subcommand)]
        command: TopologyVerb,
    },
    /// Examine settings, broker, database or data directory, and say what to do about what is not well
    Doctor {
        #[command(flatten)]
        engine: EngineFlags,
        #[command(flatten)]
        doctor: DoctorFlags,
    },
    /// Print settings: those in force, or all of them with their meaning
    Config {
        #[command(subcommand)]
        command: ConfigVerb,
    },
    /// Print the description of the HTTP API (OpenAPI 3.1)
    Openapi,
    Listen(Listen),
    Bench(Box<Bench>),
    #[command(flatten)]
    Client(ClientCommand),
}

#[derive(Subcommand)]
enum TopologyVerb {
    /// Declare everything; what is there already stays
    Declare(EngineFlags),
    /// Compare what is on the broker with what would be declared
    Verify(EngineFlags),
    /// Print what would be declared
    Print(EngineFlags),
}

#[derive(Subcommand)]
enum ConfigVerb {
    /// Print the settings in force as TOML, secrets masked
    Print {
        /// Every setting at its default, with its meaning: a file to begin with
        #[arg(long)]
        defaults: bool,
        #[command(flatten)]
        engine: EngineFlags,
    },
    /// Print the reference page of all settings, in Markdown
    Reference,
}

/// Which engine.
#[derive(Args, Default)]
struct EngineFlags {
    /// Configuration file (default: postrider.toml, if it is there)
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Directory of the embedded engine
    #[arg(long, value_name = "DIR")]
    data: Option<String>,
    /// RabbitMQ, for the cluster engines: amqp://user:password@host/vhost
    #[arg(long, value_name = "URL")]
    queue: Option<String>,
    /// PostgreSQL, for the cluster engines: postgres://user:password@host/database
    #[arg(long, value_name = "URL")]
    store: Option<String>,
}

/// Flags go before POSTRIDER_* variables, those before the file. `postrider config print --defaults` has them all.
#[derive(Args)]
struct ServeFlags {
    #[command(flatten)]
    engine: EngineFlags,
    /// Roles of this process, with commas: ingest, worker, status, manage (default: all; fewer need the cluster engines)
    #[arg(long, value_name = "ROLES")]
    role: Option<String>,
    /// Address and port of the API
    #[arg(long, value_name = "ADDRESS")]
    listen: Option<String>,
    /// Allow plain http and receivers on this machine. For development only
    #[arg(long)]
    dev: bool,
    /// Accept http:// URLs of receivers too
    #[arg(long)]
    allow_http: bool,
    /// A network that deliveries may reach although it is private (repeatable)
    #[arg(long, value_name = "CIDR")]
    allow_net: Vec<String>,
    /// error, warn, info, debug, or directives
    #[arg(long, value_name = "LEVEL")]
    log_level: Option<String>,
    /// End in order, as at SIGTERM, when standard input ends too: with the program that started this one, however that
    /// ended
    #[arg(long)]
    until_input_ends: bool,
}

impl EngineFlags {
    fn sources(self) -> Sources {
        let given = [("engine.data", self.data), ("engine.queue", self.queue), ("engine.store", self.store)];
        let flags = given.into_iter().filter_map(|(path, value)| Some((path, value?))).collect();
        Sources { file: self.config, flags }
    }
}

impl ServeFlags {
    fn sources(self) -> Sources {
        let mut flags = BTreeMap::new();
        let given =
            [("server.roles", self.role), ("server.listen", self.listen), ("log.level", self.log_level)];
        flags.extend(given.into_iter().filter_map(|(path, value)| Some((path, value?))));
        let switches = [("server.dev", self.dev), ("egress.allow_http", self.allow_http)];
        flags.extend(
            switches.into_iter().filter(|(_, is_set)| *is_set).map(|(path, _)| (path, "true".to_owned())),
        );
        if !self.allow_net.is_empty() {
            flags.insert("egress.allow_networks", self.allow_net.join(","));
        }
        let mut sources = self.engine.sources();
        sources.flags.extend(flags);
        sources
    }
}

/// Runs the program with the arguments of this process.
#[must_use]
pub fn run() -> ExitCode {
    refuse_huge_pages();
    let matches = CommandLine::command().get_matches();
    let command_line = match CommandLine::from_arg_matches(&matches) {
        Ok(command_line) => command_line,
        Err(error) => error.exit(),
    };
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return fail(&anyhow::Error::new(error).context("cannot start")),
    };
    let code = runtime.block_on(dispatch(command_line)).unwrap_or_else(|error| fail(&error));
    // Blocking look-ups that nobody waits for any more must not hold up the end.
    runtime.shutdown_background();
    code
}

async fn dispatch(CommandLine { connection, output, command }: CommandLine) -> anyhow::Result<ExitCode> {
    let clock = || Arc::new(SystemClock);
    match command {
        Command::Serve(flags) => {
            let ends = if flags.until_input_ends { Ends::WithInput } else { Ends::AtSignals };
            serve::serve(config::load(&flags.sources(), Purpose::Serve)?, ends).await
        }
        Command::Migrate(engine) => {
            println!("{}", assemble::migrate(&load(engine, Purpose::Migrate)?, clock()).await?);
            Ok(ExitCode::SUCCESS)
        }
        Command::Topology { command } => {
            let (verb, engine) = match command {
                TopologyVerb::Declare(engine) => (TopologyCommand::Declare, engine),
                TopologyVerb::Verify(engine) => (TopologyCommand::Verify, engine),
                TopologyVerb::Print(engine) => (TopologyCommand::Print, engine),
            };
            let (text, is_well) =
                assemble::topology(&load(engine, Purpose::Topology)?, verb, clock(), Arc::new(SystemEntropy))
                    .await?;
            println!("{text}");
            Ok(if is_well { ExitCode::SUCCESS } else { ExitCode::FAILURE })
        }
        Command::Doctor { engine, doctor } => {
            let is_well = examine_installation(&engine.sources(), &doctor, output).await?;
            Ok(if is_well { ExitCode::SUCCESS } else { ExitCode::FAILURE })
        }
        Command::Config { command: ConfigVerb::Print { defaults: true, engine: _ } } => {
            print!("{}", config::print_defaults());
            Ok(ExitCode::SUCCESS)
        }
        Command::Config { command: ConfigVerb::Print { defaults: false, engine } } => {
            print!("{}", config::print_effective(&load(engine, Purpose::Serve)?));
            Ok(ExitCode::SUCCESS)
        }
        Command::Config { command: ConfigVerb::Reference } => {
            print!("{}", config::reference_page());
            Ok(ExitCode::SUCCESS)
        }
        Command::Openapi => {
            println!("{}", serve::api_description()?);
            Ok(ExitCode::SUCCESS)
        }
        Command::Listen(listen) => listen.run().await.map(|()| ExitCode::SUCCESS),
        Command::Bench(bench) => bench.run(output).await.map(|()| ExitCode::SUCCESS),
        Command::Client(command) => {
            command.run(connection.or_from_environment(), output).await.map(|()| ExitCode::SUCCESS)
        }
    }
}

fn load(engine: EngineFlags, purpose: Purpose) -> anyhow::Result<Settings> {
    Ok(config::load(&engine.sources(), purpose)?)
}

/// Says what went wrong, once, and how the process ends.
fn fail(error: &anyhow::Error) -> ExitCode {
    let (code, text) = verdict(error);
    if let Some(text) = text {
        eprintln!("{text}");
    }
    code
}

//! The commands that talk to a server's API: tenants, keys, webhooks, profiles, event types, events,
//! deliveries, ledger.
//!
//! Each makes its requests, then prints either a table for people or, with `--output json`, the API's own JSON on
//! standard output and nothing else there. What went wrong goes to standard error with what to do about it.

mod api;
mod deliveries;
mod delivery_page;
mod error;
mod event_types;
mod events;
mod explain;
mod explanation_page;
mod input;
mod keys;
mod ledger;
mod listing;
mod postback_options;
mod profiles;
mod session;
mod tail;
mod tenants;
mod transport;
mod webhook_options;
mod webhook_test;
mod webhooks;

#[cfg(test)]
mod tests;

use crate::config::variable;
use crate::table::Screen;

pub use error::{ClientError, verdict};
use session::Session;
pub use transport::exchange;

/// Which server, and as whom. The options may stand anywhere on the command line.
#[derive(clap::Args, Clone)]
pub struct Connection {
    /// Where the server listens [env: POSTRIDER_URL] [default: http://127.0.0.1:8080]
    #[arg(
        id = "connection_url",
        long = "server",
        value_name = "URL",
        global = true,
        help_heading = "Connection"
    )]
    pub url: Option<String>,
    /// The admin key, or a tenant's key; better given by the variable, which does not show in a list of processes
    /// [env: POSTRIDER_KEY]
    #[arg(
        id = "connection_key",
        long = "key",
        value_name = "KEY",
        global = true,
        help_heading = "Connection"
    )]
    pub key: Option<String>,
    /// The tenant to act for; needed with the admin key alone [env: POSTRIDER_TENANT]
    #[arg(
        id = "connection_tenant",
        long = "tenant",
        value_name = "ID",
        global = true,
        help_heading = "Connection"
    )]
    pub tenant: Option<String>,
}

/// Where `postrider serve` listens unless it is told otherwise.
const DEFAULT_URL: &str = "http://127.0.0.1:8080";

impl Connection {
    /// What is not on the command line is taken from the variables. Not the parser's own doing: it would show these
    /// options in the usage line of every refused command, as if they were required.
    #[must_use]
    pub fn or_from_environment(self) -> Self {
        Connection {
            url: self.url.or_else(|| variable("POSTRIDER_URL")),
            key: self.key.or_else(|| variable("POSTRIDER_KEY")),
            tenant: self.tenant.or_else(|| variable("POSTRIDER_TENANT")),
        }
    }

    fn url(&self) -> &str {
        self.url.as_deref().unwrap_or(DEFAULT_URL)
    }
}

/// How answers are printed.
#[derive(clap::ValueEnum, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Output {
    /// For people: fitted to the terminal; plain where it is not one
    #[default]
    Table,
    /// The API's JSON: one document; for `deliveries tail` one to a line
    Json,
}

/// Where the exit codes are told: part of every command's long help.
const AFTER_HELP: &str = "Exit codes: 0 done; 1 refused by the server, or something found not well; 2 the command \
cannot be carried out as given; 3 the server cannot be reached.";

/// A client of the API.
#[derive(clap::Subcommand)]
pub enum ClientCommand {
    /// Tenants: each is one brand with its own webhooks, keys and events (admin key)
    #[command(subcommand, after_long_help = AFTER_HELP)]
    Tenants(tenants::Tenants),
    /// Keys of a tenant: who may publish, read and manage (admin key)
    #[command(subcommand, after_long_help = AFTER_HELP)]
    Keys(keys::Keys),
    /// Webhooks: which URL gets which events
    #[command(subcommand, after_long_help = AFTER_HELP)]
    Webhooks(webhooks::Webhooks),
    /// Profiles: delivery contracts as data
    #[command(subcommand, after_long_help = AFTER_HELP)]
    Profiles(profiles::Profiles),
    /// Event types: what events carry, and what they must look like
    #[command(subcommand, after_long_help = AFTER_HELP)]
    EventTypes(event_types::EventTypes),
    /// Events: send them, and see what became of them
    #[command(subcommand, after_long_help = AFTER_HELP)]
    Events(events::Events),
    /// Deliveries: one event on its way to one webhook, with every try
    #[command(subcommand, after_long_help = AFTER_HELP)]
    Deliveries(deliveries::Deliveries),
    #[command(after_long_help = AFTER_HELP)]
    Ledger(ledger::Ledger),
}

impl ClientCommand {
    /// Carries the command out against the server, printing to standard output.
    ///
    /// # Errors
    /// A [`ClientError`]; [`verdict`] makes an exit code and a message of it.
    pub async fn run(self, connection: Connection, output: Output) -> anyhow::Result<()> {
        let mut session = Session::new(&connection, output, Screen::stdout())?;
        Ok(self.run_in(&mut session).await?)
    }

    async fn run_in(self, session: &mut Session) -> Result<(), ClientError> {
        match self {
            ClientCommand::Tenants(command) => command.run(session).await,
            ClientCommand::Keys(command) => command.run(session).await,
            ClientCommand::Webhooks(command) => command.run(session).await,
            ClientCommand::Profiles(command) => command.run(session).await,
            ClientCommand::EventTypes(command) => command.run(session).await,
            ClientCommand::Events(command) => command.run(session).await,
            ClientCommand::Deliveries(command) => command.run(session).await,
            ClientCommand::Ledger(command) => command.run(session).await,
        }
    }
}

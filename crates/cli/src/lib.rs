//! The binary `postrider`: its roles and commands.

mod admin_key;
mod api_page;
mod api_refusals;
mod assemble;
mod bench;
mod capture;
mod client;
mod command;
mod config;
mod doctor;
mod input_file;
mod listen;
mod memory;
mod migration;
mod profile_argument;
mod sampling;
mod secret_argument;
mod serve;
mod shown_header;
mod table;

pub use bench::report;
pub use command::run;
pub use config::reference_page;

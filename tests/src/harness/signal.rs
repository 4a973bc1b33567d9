//! Signals to processes, by id, never by name.

use std::io;

/// What a test does to a process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Signal {
    /// Ends it at once, as a crash would.
    Kill,
    /// Asks it to end in order.
    Terminate,
    /// PostgreSQL's immediate shutdown: no checkpoint, but its shared memory is given back.
    Quit,
    /// What Ctrl-C sends.
    Interrupt,
    /// Freezes it: alive, silent.
    Stop,
    /// Thaws it.
    Continue,
}

impl Signal {
    /// The name that `kill -<name>` takes.
    pub fn name(self) -> &'static str {
        match self {
            Self::Kill => "KILL",
            Self::Terminate => "TERM",
            Self::Quit => "QUIT",
            Self::Interrupt => "INT",
            Self::Stop => "STOP",
            Self::Continue => "CONT",
        }
    }

    fn number(self) -> libc::c_int {
        match self {
            Self::Kill => libc::SIGKILL,
            Self::Terminate => libc::SIGTERM,
            Self::Quit => libc::SIGQUIT,
            Self::Interrupt => libc::SIGINT,
            Self::Stop => libc::SIGSTOP,
            Self::Continue => libc::SIGCONT,
        }
    }
}

/// Sends `signal` to the process `pid`, which must be one that the harness started.
pub fn send(pid: u32, signal: Signal) -> io::Result<()> {
    let target = libc::pid_t::try_from(pid).ok().filter(|pid| *pid > 1).ok_or_else(|| {
        io::Error::new(io::ErrorKind::InvalidInput, format!("{pid} is not the id of one process"))
    })?;
    #[expect(
        unsafe_code,
        reason = "kill(2) has no safe wrapper here; it takes two integers and touches no memory"
    )]
    let result = unsafe { libc::kill(target, signal.number()) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Whether `pid` still runs. A process that has ended but was not yet collected by its parent counts as ended.
pub fn is_running(pid: u32) -> bool {
    match std::fs::read_to_string(format!("/proc/{pid}/stat")) {
        Ok(stat) => !stat.rsplit_once(") ").is_some_and(|(_, rest)| rest.starts_with('Z')),
        Err(_) => false,
    }
}

/// The ids of the processes whose parent is `parent`, as far as they can be seen at this moment.
pub fn children_of(parent: u32) -> Vec<u32> {
    let Ok(entries) = std::fs::read_dir("/proc") else { return Vec::new() };
    entries
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok())
        .filter(|pid| parent_of(*pid) == Some(parent))
        .collect()
}

fn parent_of(pid: u32) -> Option<u32> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (_, rest) = stat.rsplit_once(") ")?;
    rest.split_whitespace().nth(1)?.parse().ok()
}

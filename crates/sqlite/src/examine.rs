//! What an operator should know about a data directory. Only reads, so a server may run on it meanwhile; makes no file.

use std::fs::{self, File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};

use postrider_contract::finding::Finding;
use rusqlite::Connection;
use rustix::fs::statvfs;

use crate::error::OpenError;
use crate::schema::{self, DAY, QUEUE, open_reader};

const MEBIBYTE: u64 = 1024 * 1024;
/// Below this the next burst, or the next day's file, may not fit.
const LITTLE_SPACE: u64 = 2 * 1024 * MEBIBYTE;
/// Below this a checkpoint of the write-ahead log may not fit, and publishes are about to be refused.
const NO_SPACE: u64 = 256 * MEBIBYTE;
/// The write-ahead log is cut down to 64 MiB after each burst; several times that, and a reader does not let go.
const LONG_WAL: u64 = 512 * MEBIBYTE;
/// Batches of the journal that wait from which on the log is behind by more than a moment.
const LONG_JOURNAL: i64 = 5_000;

/// Tries that wait, from which on somebody should look why nobody gets through them: some seconds of work.
const LONG_WORK: i64 = 50_000;
/// Held deliveries from which on somebody should look why: some minutes of work, at the rate at which releases yield to
/// first tries (320 a second).
const MANY_HELD: i64 = 100_000;

/// Looks at a data directory from end to end. Never fails: what cannot be done is what was found. Blocks.
#[must_use]
pub fn examine(folder: &Path) -> Vec<Finding> {
    if !folder.exists() {
        return vec![Finding::warning(
            "data.folder",
            format!("{} does not exist", folder.display()),
            "`postrider serve` makes it; or name the right one with --data",
        )];
    }
    let mut findings = vec![judge_use(folder), judge_space(folder)];
    let queue = folder.join("queue.db");
    if !queue.exists() {
        let advice = "`postrider serve` makes it; or name the right directory with --data";
        findings.push(Finding::warning("data.files", "there is no queue.db here", advice));
        return findings;
    }
    findings.push(judge_files(&queue, &folder.join("log")));
    match open_reader(&queue) {
        Ok(connection) => {
            findings.extend(judge_queue(&connection, &queue));
            for (subject, look) in LOOKS {
                findings.push(look(&connection).unwrap_or_else(|error| unreadable(subject, &error)));
            }
        }
        Err(error) => findings.push(unreadable("data.queue", &error)),
    }
    findings
}

fn unreadable(subject: &'static str, error: &dyn std::error::Error) -> Finding {
    Finding::fault(subject, error.to_string(), "restore it from a backup; docs/operations.md, \"Backup\"")
}

fn judge_use(folder: &Path) -> Finding {
    const SUBJECT: &str = "data.folder";
    let path = folder.join("lock");
    // Only looked for: a lock file made here would be this user's, and may keep the server from its directory.
    let locked = match File::open(&path) {
        Ok(file) => Ok(file.try_lock_shared()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Ok(())),
        Err(error) => Err(error),
    };
    match locked {
        Ok(Ok(())) => Finding::well(SUBJECT, format!("{}; no server runs on it now", folder.display())),
        Ok(Err(TryLockError::WouldBlock)) => {
            Finding::well(SUBJECT, format!("{}; a server runs on it", folder.display()))
        }
        Ok(Err(TryLockError::Error(error))) | Err(error) => Finding::fault(
            SUBJECT,
            format!("{} cannot be used: {error}", folder.display()),
            "its owner must be the user that Postrider runs as",
        ),
    }
}

fn judge_space(folder: &Path) -> Finding {
    const SUBJECT: &str = "data.disk";
    match statvfs(folder).map_err(io::Error::from) {
        Ok(disk) => judge_free(disk.f_bavail.saturating_mul(disk.f_frsize)),
        Err(error) => Finding::unknown(SUBJECT, error.to_string(), "`df` tells it"),
    }
}

fn judge_free(bytes: u64) -> Finding {
    const SUBJECT: &str = "data.disk";
    let seen = format!("{} MiB free", bytes / MEBIBYTE);
    let advice = "free some, shorten `status.retention_days`, or move the data directory to a larger disk";
    if bytes < NO_SPACE {
        Finding::fault(SUBJECT, format!("{seen}: events are about to be refused"), advice)
    } else if bytes < LITTLE_SPACE {
        Finding::warning(SUBJECT, seen, advice)
    } else {
        Finding::well(SUBJECT, seen)
    }
}

fn judge_files(queue: &Path, log: &Path) -> Finding {
    const SUBJECT: &str = "data.files";
    let days = match day_files(log) {
        Ok(days) => days,
        Err(error) => return unreadable(SUBJECT, &error),
    };
    let checked = schema::check(queue, &QUEUE)
        .and_then(|()| days.iter().try_for_each(|path| schema::check(path, &DAY)));
    if let Err(error) = checked {
        return describe(SUBJECT, &error);
    }
    let bytes: u64 = days.iter().map(|path| size(path)).sum();
    let seen = format!("queue.db is ours; {} days of the log, {} MiB", days.len(), bytes / MEBIBYTE);
    Finding::well(SUBJECT, seen)
}

fn describe(subject: &'static str, error: &OpenError) -> Finding {
    let cause = std::error::Error::source(error).map(|source| format!(": {source}")).unwrap_or_default();
    Finding::fault(
        subject,
        format!("{error}{cause}"),
        "docs/operations.md, \"Backup\", says how to restore it",
    )
}

fn day_files(log: &Path) -> io::Result<Vec<PathBuf>> {
    let entries = match fs::read_dir(log) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let paths: Vec<PathBuf> =
        entries.map(|entry| entry.map(|entry| entry.path())).collect::<io::Result<_>>()?;
    Ok(paths.into_iter().filter(|path| crate::log::is_day(path)).collect())
}

/// A file that is not there takes no space.
fn size(path: &Path) -> u64 {
    fs::metadata(path).map_or(0, |metadata| metadata.len())
}

fn judge_queue(connection: &Connection, path: &Path) -> Vec<Finding> {
    const SUBJECT: &str = "data.queue";
    let count = |table: &str| -> rusqlite::Result<i64> {
        connection.query_row(&format!("SELECT count(*) FROM {table}"), [], |row| row.get(0))
    };
    let counted = count("dead").and_then(|dead| Ok((dead, count("journal")?)));
    let (dead, journal) = match counted {
        Ok(counts) => counts,
        Err(error) => return vec![unreadable(SUBJECT, &error)],
    };
    let mut findings = Vec::new();
    if dead > 0 {
        let advice = "docs/operations.md, \"Messages that fell off the path\", says what to do with them";
        findings.push(Finding::warning(
            SUBJECT,
            format!("{dead} messages that nobody could read were set aside"),
            advice,
        ));
    }
    if journal > LONG_JOURNAL {
        let advice = "if it keeps growing: is the disk slow, or full?";
        findings.push(Finding::warning(
            SUBJECT,
            format!("{journal} batches wait to be written to the log"),
            advice,
        ));
    }
    let wal = size(&path.with_extension("db-wal"));
    if wal > LONG_WAL {
        let advice = "a program that reads queue.db holds it open: end it; never copy the file, back it up";
        findings.push(Finding::warning(
            SUBJECT,
            format!("the write-ahead log is {} MiB long", wal / MEBIBYTE),
            advice,
        ));
    }
    if findings.is_empty() {
        findings.push(Finding::well(SUBJECT, "nothing piles up and nothing was set aside"));
    }
    findings
}

type Look = fn(&Connection) -> rusqlite::Result<Finding>;
const LOOKS: [(&str, Look); 2] = [("data.work", look_at_work), ("data.room", look_at_room)];

/// Counts no further than it needs to: a row holds its body, and a table is read as a whole.
fn look_at_work(connection: &Connection) -> rusqlite::Result<Finding> {
    let count = |table: &str| -> rusqlite::Result<i64> {
        let sql = format!("SELECT count(*) FROM (SELECT 1 FROM {table} LIMIT {LONG_WORK} + 1)");
        connection.query_row(&sql, [], |row| row.get(0))
    };
    Ok(judge_work(count("work_first")? + count("work_release")? + count("work_large")?, count("work_retry")?))
}

/// Tries that wait for their turn, and retries, most of which wait for their time.
fn judge_work(tries: i64, retries: i64) -> Finding {
    const SUBJECT: &str = "data.work";
    let told = |count: i64| if count > LONG_WORK { format!("over {LONG_WORK}") } else { count.to_string() };
    let seen = format!("{} tries and {} retries wait", told(tries), told(retries));
    if tries > LONG_WORK {
        let advice =
            "does a server run on it? If they keep growing, raise `worker.slots`, or look for slow receivers";
        Finding::warning(SUBJECT, seen, advice)
    } else if retries > LONG_WORK {
        let advice = "many receivers fail: `postrider deliveries list --status retrying` says whose";
        Finding::warning(SUBJECT, seen, advice)
    } else {
        Finding::well(SUBJECT, seen)
    }
}

fn look_at_room(connection: &Connection) -> rusqlite::Result<Finding> {
    let sql = "SELECT coalesce(sum(waiting), 0), coalesce(sum(released), 0), count(*) FILTER (WHERE waiting > 0) \
               FROM room_count";
    connection.query_row(sql, [], |row| Ok(judge_room(row.get(0)?, row.get(1)?, row.get(2)?)))
}

fn judge_room(waiting: i64, released: i64, webhooks: i64) -> Finding {
    const SUBJECT: &str = "data.room";
    let seen = format!(
        "{waiting} deliveries of {webhooks} webhooks wait in the room; {released} are on their way out"
    );
    if waiting > MANY_HELD {
        let advice = "`waiting` of each webhook says whose: resume what is paused, raise its rate or its window, or \
                      cancel; if none is, raise `worker.slots`";
        Finding::warning(SUBJECT, seen, advice)
    } else {
        Finding::well(SUBJECT, seen)
    }
}

#[cfg(test)]
mod tests {
    use postrider_contract::finding::Verdict;

    use super::*;

    #[test]
    fn looking_leaves_nothing_behind() {
        let folder = std::env::temp_dir().join(format!("postrider-doctor-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        assert_eq!(judge_use(&folder).verdict, Verdict::Well);
        assert_eq!(fs::read_dir(&folder).unwrap().count(), 0);
        fs::remove_dir(&folder).unwrap();
    }

    #[test]
    fn work_and_held_deliveries_that_pile_up_are_told() {
        for (tries, retries, verdict) in [
            (0, LONG_WORK, Verdict::Well),
            (LONG_WORK, 0, Verdict::Well),
            (LONG_WORK + 1, 0, Verdict::Warning),
            (0, LONG_WORK + 1, Verdict::Warning),
        ] {
            assert_eq!(judge_work(tries, retries).verdict, verdict, "{tries}, {retries}");
        }
        assert_eq!(judge_room(MANY_HELD, 0, 1).verdict, Verdict::Well);
        assert_eq!(judge_room(MANY_HELD + 1, 0, 1).verdict, Verdict::Warning);
    }

    #[test]
    fn a_disk_that_runs_full_is_told_before_events_are_refused() {
        for (bytes, verdict) in [
            (LITTLE_SPACE, Verdict::Well),
            (LITTLE_SPACE - 1, Verdict::Warning),
            (NO_SPACE - 1, Verdict::Fault),
        ] {
            assert_eq!(judge_free(bytes).verdict, verdict, "{bytes}");
        }
    }
}

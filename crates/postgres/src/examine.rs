//! What an operator should know about the database, read without changing anything.

use std::time::Duration;

use postrider_contract::clock::{Clock, Day, Timestamp};
use postrider_contract::finding::Finding;
use tokio::time::{Instant, timeout};
use tokio_postgres::{Client, Row};

use crate::connect::Settings;
use crate::errors::{ConnectError, describe};
use crate::migrations::check_schema;
use crate::server::Server;

/// For each question to the database.
const QUESTION: Duration = Duration::from_secs(10);
/// Retries wait by our clocks and the log's days are made by the server's: more than this apart and both are off.
const TOLERABLE_SKEW: Duration = Duration::from_secs(1);
/// From here on signatures are stale to receivers that allow five minutes, and days are made too late.
const HARMFUL_SKEW: Duration = Duration::from_secs(60);
/// Days of the log that should lie ahead, of the seven that status makes; a missing day is made when it is first
/// written, which writers wait for.
const DAYS_AHEAD: i32 = 3;
/// How many overdue ones are counted.
const COUNTED: i64 = 10_000;
/// Held deliveries from which on somebody should look why: some minutes of work for one worker, at the rate at which
/// releases yield to first tries (320 a second).
const MANY_HELD: i64 = 100_000;
/// Share of the server's connections that may be in use.
const BUSY_PERCENT: i64 = 80;

/// Looks at the database from end to end. Never fails: what cannot be done is what was found. `overdue_after` is how long
/// a delivery may be past its time before status takes it up again.
pub async fn examine(settings: &Settings, overdue_after: Duration, clock: &dyn Clock) -> Vec<Finding> {
    let unreachable = |error: &ConnectError| {
        vec![Finding::fault(
            "store.login",
            error.to_string(),
            "look at `engine.store`, and at the server's log",
        )]
    };
    let server = match Server::new(settings) {
        Ok(server) => server,
        Err(error) => return unreachable(&error),
    };
    let begun = Instant::now();
    let opened = match server.reach().await {
        Ok(opened) => opened,
        Err(error) => return unreachable(&error),
    };
    let login =
        format!("logged in at {}, {} in {:.0?}", server.address(), server.database(), begun.elapsed());
    let client = &opened.client;
    let mut findings = vec![Finding::well("store.login", login)];
    let has_schema = match check_schema(client, &server).await {
        Ok(()) => {
            findings.push(Finding::well("store.schema", "the one that this program knows"));
            true
        }
        Err(error) => {
            findings.push(Finding::fault("store.schema", error.to_string(), "run `postrider migrate`"));
            false
        }
    };
    findings.push(asked("store.version", judge_version(client)).await);
    findings.push(asked("store.writable", judge_writable(client)).await);
    findings.push(asked("store.durability", judge_durability(client)).await);
    findings.push(asked("store.connections", judge_connections(client)).await);
    findings.push(asked("store.clock", judge_clock(client, clock)).await);
    if has_schema {
        findings.push(asked("store.days", judge_days(client)).await);
        findings.push(asked("store.body_days", judge_body_days(client)).await);
        findings.push(asked("store.room", judge_room(client)).await);
        findings.push(asked("store.overdue", judge_overdue(client, clock.now().minus(overdue_after))).await);
        findings.push(asked("store.refused", judge_refused(client)).await);
    }
    findings
}

type Answer<T> = Result<T, tokio_postgres::Error>;

async fn asked(subject: &'static str, question: impl Future<Output = Answer<Finding>>) -> Finding {
    match timeout(QUESTION, question).await {
        Ok(Ok(finding)) => finding,
        Ok(Err(error)) => Finding::unknown(subject, describe(&error), "look at the server's log"),
        Err(_) => Finding::fault(
            subject,
            format!("no answer within {QUESTION:?}"),
            "the server is overloaded or a lock is held: look at pg_stat_activity",
        ),
    }
}

async fn one(client: &Client, sql: &str) -> Answer<Row> {
    client.query_one(sql, &[]).await
}

async fn judge_version(client: &Client) -> Answer<Finding> {
    /// The first with everything that the log's partitions need.
    const NEEDED: i32 = 130_000;
    let row = one(
        client,
        "SELECT current_setting('server_version_num')::integer AS number, \
         split_part(current_setting('server_version'), ' ', 1) AS text",
    )
    .await?;
    let seen = format!("PostgreSQL {}", row.try_get::<_, &str>("text")?);
    Ok(if row.try_get::<_, i32>("number")? < NEEDED {
        Finding::fault("store.version", seen, "at least 13 is needed: upgrade the server")
    } else {
        Finding::well("store.version", seen)
    })
}

async fn judge_writable(client: &Client) -> Answer<Finding> {
    let sql =
        "SELECT pg_is_in_recovery() AS standby, current_setting('transaction_read_only') = 'on' AS read_only";
    let row = one(client, sql).await?;
    let advice =
        "point `engine.store` at the primary, or name all hosts in it with target_session_attrs=read-write";
    Ok(if row.try_get("standby")? {
        Finding::fault("store.writable", "this is a standby: it can only be read", advice)
    } else if row.try_get("read_only")? {
        let advice = "find who set default_transaction_read_only, and why";
        Finding::fault("store.writable", "the database is read-only", advice)
    } else {
        Finding::well("store.writable", "it can be written")
    })
}

async fn judge_durability(client: &Client) -> Answer<Finding> {
    let sql = "SELECT name, setting FROM pg_settings WHERE name IN ('fsync', 'full_page_writes') AND setting = 'off'
        ORDER BY name";
    let rows = client.query(sql, &[]).await?;
    let off: Vec<&str> = rows.iter().map(|row| row.try_get("name")).collect::<Answer<_>>()?;
    Ok(if off.is_empty() {
        Finding::well("store.durability", "a commit is on disk when it is answered")
    } else {
        let seen = format!("{} off: a power cut loses or damages the log", off.join(" and "));
        Finding::fault("store.durability", seen, "switch it on in postgresql.conf and restart the server")
    })
}

async fn judge_connections(client: &Client) -> Answer<Finding> {
    let sql = "SELECT count(*) AS used, current_setting('max_connections')::bigint AS most \
        FROM pg_stat_activity WHERE backend_type = 'client backend'";
    let row = one(client, sql).await?;
    let (used, most): (i64, i64) = (row.try_get("used")?, row.try_get("most")?);
    let seen = format!("{used} of {most} connections in use");
    Ok(if used * 100 >= most * BUSY_PERCENT {
        let advice = "raise max_connections, or lower `engine.store_connections` of the processes";
        Finding::warning("store.connections", seen, advice)
    } else {
        Finding::well("store.connections", seen)
    })
}

async fn judge_clock(client: &Client, clock: &dyn Clock) -> Answer<Finding> {
    let begun = Instant::now();
    let row = one(client, "SELECT (extract(epoch FROM clock_timestamp()) * 1000)::bigint AS millis").await?;
    let (took, ours) = (begun.elapsed(), clock.now().as_millis());
    let theirs: i64 = row.try_get("millis")?;
    Ok(judge_skew(Duration::from_millis(ours.abs_diff(theirs)).saturating_sub(took)))
}

/// What is left of the difference after the time that asking took.
fn judge_skew(skew: Duration) -> Finding {
    let advice = "run a time service (NTP) on this machine and on the server's";
    let seen = format!("the server's clock and ours are {skew:.0?} apart");
    if skew > HARMFUL_SKEW {
        Finding::fault("store.clock", seen, advice)
    } else if skew > TOLERABLE_SKEW {
        Finding::warning("store.clock", seen, advice)
    } else {
        Finding::well("store.clock", "the server's clock and ours agree within a second")
    }
}

/// The server's day.
const TODAY: &str = "(extract(epoch FROM now())::bigint / 86400)::integer";

/// Numbers of the days that a table has partitions for.
fn days_of(table: &str) -> String {
    format!(
        "SELECT substring(c.relname from '[0-9]+$')::integer AS number FROM pg_inherits i
            JOIN pg_class c ON c.oid = i.inhrelid WHERE i.inhparent = to_regclass('{table}')"
    )
}

async fn judge_days(client: &Client) -> Answer<Finding> {
    let sql = format!(
        "SELECT count(*) AS days, min(number) AS first, max(number) AS last, {TODAY} AS today FROM ({}) AS known",
        days_of("attempts")
    );
    let row = one(client, &sql).await?;
    let (count, today): (i64, i32) = (row.try_get("days")?, row.try_get("today")?);
    let (Some(first), Some(last)) =
        (row.try_get::<_, Option<i32>>("first")?, row.try_get::<_, Option<i32>>("last")?)
    else {
        let advice = "start a process with the role status: it makes days ahead";
        return Ok(Finding::warning("store.days", "the log has no days yet", advice));
    };
    Ok(judge_ahead(last - today, &format!("{count} days, from {}", Day::from_number(first))))
}

fn judge_ahead(ahead: i32, days: &str) -> Finding {
    let seen = format!("{days}; {ahead} lie ahead");
    if ahead < DAYS_AHEAD {
        let advice = "is a process with the role status running, and which error does it log about days?";
        Finding::warning("store.days", seen, advice)
    } else {
        Finding::well("store.days", seen)
    }
}

/// A day has its partition for bodies from when it is made, unless a process of a version without them made it.
async fn judge_body_days(client: &Client) -> Answer<Finding> {
    const SUBJECT: &str = "store.body_days";
    let sql = format!(
        "SELECT count(*) AS days, count(bodies.number) AS with_bodies FROM ({}) AS log
            LEFT JOIN ({}) AS bodies USING (number) WHERE number >= {TODAY}",
        days_of("attempts"),
        days_of("response_bodies")
    );
    let row = one(client, &sql).await?;
    let (days, with_bodies): (i64, i64) = (row.try_get("days")?, row.try_get("with_bodies")?);
    Ok(if with_bodies < days {
        let seen = format!("{} of {days} days from today on keep no bodies of answers", days - with_bodies);
        let advice = "a process of an older version made them: replace it; status then makes up for it within the hour";
        Finding::warning(SUBJECT, seen, advice)
    } else {
        Finding::well(SUBJECT, format!("{days} days from today on keep the bodies of answers"))
    })
}

/// By the counts, whose changes are folded in now and then.
async fn judge_room(client: &Client) -> Answer<Finding> {
    const SUBJECT: &str = "store.room";
    let sql =
        "SELECT coalesce(sum(waiting), 0)::bigint AS waiting, coalesce(sum(released), 0)::bigint AS released,
            count(*) FILTER (WHERE waiting > 0) AS webhooks
        FROM (SELECT sum(waiting) AS waiting, sum(released) AS released FROM (
                SELECT webhook, waiting, released FROM room_counts
                UNION ALL SELECT webhook, waiting, released FROM room_changes
            ) AS changes GROUP BY webhook) AS counts";
    let row = one(client, sql).await?;
    let (waiting, released): (i64, i64) = (row.try_get("waiting")?, row.try_get("released")?);
    let webhooks: i64 = row.try_get("webhooks")?;
    let seen = format!(
        "{waiting} deliveries of {webhooks} webhooks wait in the room; {released} are on their way out"
    );
    Ok(if waiting > MANY_HELD {
        let advice = "`waiting` of each webhook says whose: resume what is paused, raise its rate or its window, or \
                      cancel; if none is, start more of the role worker";
        Finding::warning(SUBJECT, seen, advice)
    } else {
        Finding::well(SUBJECT, seen)
    })
}

async fn judge_overdue(client: &Client, before: Timestamp) -> Answer<Finding> {
    let sql = "SELECT count(*) AS overdue FROM
        (SELECT 1 FROM deliveries WHERE concluded_at IS NULL AND due_at < $1 LIMIT $2) AS found";
    let row = client.query_one(sql, &[&before.as_millis(), &COUNTED]).await?;
    let overdue: i64 = row.try_get("overdue")?;
    Ok(if overdue == 0 {
        Finding::well("store.overdue", "no delivery is overdue")
    } else {
        let more = if overdue == COUNTED { " or more" } else { "" };
        let seen =
            format!("{overdue}{more} deliveries are past their time by more than `status.overdue_after`");
        let advice = "while queues are long that is why; else status publishes them again, if it runs";
        Finding::warning("store.overdue", seen, advice)
    })
}

async fn judge_refused(client: &Client) -> Answer<Finding> {
    let row = one(client, "SELECT count(*) AS refused FROM log_refused").await?;
    let refused: i64 = row.try_get("refused")?;
    Ok(if refused == 0 {
        Finding::well("store.refused", "no row was refused")
    } else {
        let advice = "table log_refused holds each with its reason; report them, then delete the rows";
        Finding::warning("store.refused", format!("{refused} rows could not be written to the log"), advice)
    })
}

#[cfg(test)]
mod tests {
    use postrider_contract::finding::Verdict;

    use super::*;

    #[test]
    fn clocks_that_are_apart_are_told_before_they_do_harm() {
        for (millis, verdict) in
            [(0, Verdict::Well), (1_000, Verdict::Well), (1_001, Verdict::Warning), (60_001, Verdict::Fault)]
        {
            assert_eq!(judge_skew(Duration::from_millis(millis)).verdict, verdict, "{millis} ms");
        }
    }

    #[test]
    fn days_that_run_out_are_told_days_before() {
        for (ahead, verdict) in
            [(7, Verdict::Well), (3, Verdict::Well), (2, Verdict::Warning), (-1, Verdict::Warning)]
        {
            assert_eq!(judge_ahead(ahead, "30 days").verdict, verdict, "{ahead}");
        }
    }
}

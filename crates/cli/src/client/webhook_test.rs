//! `webhooks test`: an example event by the ordinary path, and what the receiver answered.

use serde::Deserialize;

use super::Output;
use super::api::Call;
use super::error::ClientError;
use super::session::Session;
use crate::table::{Hue, excerpt, printable};

/// Of a receiver's answer, for people; the delivery has the rest.
const LINES_SHOWN: usize = 10;
const COLUMNS_SHOWN: usize = 200;

/// What became of a test: its delivery, and the first try if there was one in time.
#[derive(Deserialize)]
struct TestAnswer {
    id: String,
    event_type: String,
    attempt: Option<TestAttempt>,
}

/// One try, under the names of the delivery log.
#[derive(Deserialize)]
struct TestAttempt {
    number: u32,
    response: Option<TestResponse>,
    error: Option<TestError>,
    timings: TestTimings,
    /// Absent from servers that are older: then the status has to tell.
    outcome: Option<String>,
    outcome_reason: Option<String>,
}

#[derive(Deserialize)]
struct TestResponse {
    status: u16,
    body: String,
}

#[derive(Deserialize)]
struct TestError {
    class: String,
    detail: String,
}

#[derive(Deserialize)]
struct TestTimings {
    total_ms: f64,
}

/// # Errors
/// When the server refuses, or the example was not delivered.
pub(super) async fn run(session: &mut Session, id: &str) -> Result<(), ClientError> {
    let answer = session.call(Call::post(["webhooks", id, "test"])).await?;
    let outcome: TestAnswer = answer.read()?;
    match session.output() {
        Output::Json => session.json(&answer.body)?,
        Output::Table => outcome.show(session)?,
    }
    match outcome.attempt {
        Some(attempt) if !attempt.is_success() => {
            Err(ClientError::NotWell("the test was not delivered".to_owned()))
        }
        Some(_) | None => Ok(()),
    }
}

impl TestAnswer {
    fn show(&self, session: &mut Session) -> Result<(), ClientError> {
        let event_type = printable(&self.event_type);
        let details = format!("postrider deliveries show {}", printable(&self.id));
        let Some(attempt) = &self.attempt else {
            let waits = format!("{event_type}: not tried yet (is the webhook paused?): {details}");
            return session.line(&waits);
        };
        let hue = if attempt.is_success() { Hue::Green } else { Hue::Red };
        let result = session.screen().paint(Some(hue), &attempt.result());
        let (number, milliseconds) = (attempt.number, attempt.timings.total_ms);
        session.line(&format!("{event_type}: {result} in {milliseconds:.1} ms, try {number}"))?;
        let body = attempt.response.as_ref().map(|response| response.body.as_str()).unwrap_or_default();
        for line in excerpt(body, LINES_SHOWN, COLUMNS_SHOWN).0 {
            session.line(&format!("  {line}"))?;
        }
        session.line(&format!("all of it: {details}"))
    }
}

impl TestAttempt {
    fn is_success(&self) -> bool {
        match &self.outcome {
            Some(outcome) => outcome == "delivered",
            None => self.response.as_ref().is_some_and(|response| (200..300).contains(&response.status)),
        }
    }

    fn result(&self) -> String {
        match (&self.response, &self.error) {
            (Some(response), _) => format!("{}{}", response.status, self.came_to()),
            (None, Some(error)) => format!("{}: {}", printable(&error.class), printable(&error.detail)),
            (None, None) => "no answer".to_owned(),
        }
    }

    /// What an answer does not say by itself.
    fn came_to(&self) -> String {
        let Some(outcome) = self.outcome.as_deref().filter(|outcome| *outcome != "delivered") else {
            return String::new();
        };
        let reason = self.outcome_reason.as_deref().map(|reason| format!(", {}", printable(reason)));
        format!(" ({}{})", printable(outcome), reason.unwrap_or_default())
    }
}

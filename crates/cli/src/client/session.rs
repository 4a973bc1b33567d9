//! What every command works with: the API, the screen, the clock, and which of the two outputs is wanted.

use std::sync::Arc;

use postrider_contract::clock::{Clock, Timestamp};
use postrider_service::system::SystemClock;
use serde_json::Value;

use super::api::{Answer, Api, Call};
use super::error::ClientError;
use super::input::TimeArgument;
use super::{Connection, Output};
use crate::table::{Column, Screen, sheet};

pub(super) struct Session {
    api: Api,
    screen: Screen,
    output: Output,
    clock: Arc<dyn Clock>,
}

impl Session {
    pub(super) fn new(connection: &Connection, output: Output, screen: Screen) -> Result<Self, ClientError> {
        Ok(Session { api: Api::new(connection)?, screen, output, clock: Arc::new(SystemClock) })
    }

    #[cfg(test)]
    pub(super) fn at(self, clock: Arc<dyn Clock>) -> Self {
        Session { clock, ..self }
    }

    pub(super) fn output(&self) -> Output {
        self.output
    }

    pub(super) fn screen(&mut self) -> &mut Screen {
        &mut self.screen
    }

    pub(super) async fn call(&self, call: Call) -> Result<Answer, ClientError> {
        self.api.call(call).await
    }

    /// The tenant named by `--tenant`, where the path of a request needs it.
    pub(super) fn tenant(&self) -> Result<String, ClientError> {
        let missing = || ClientError::Usage("say which tenant: --tenant ID, or POSTRIDER_TENANT".to_owned());
        self.api.tenant().map(str::to_owned).ok_or_else(missing)
    }

    pub(super) fn now(&self) -> Timestamp {
        self.clock.now()
    }

    pub(super) fn moment(&self, time: Option<TimeArgument>) -> Option<Timestamp> {
        time.map(|time| time.resolve(self.clock.now()))
    }

    pub(super) fn line(&mut self, text: &str) -> Result<(), ClientError> {
        Ok(self.screen.line(text)?)
    }

    /// The API's JSON as it came.
    pub(super) fn json(&mut self, bytes: &[u8]) -> Result<(), ClientError> {
        Ok(self.screen.bytes(bytes)?)
    }

    /// Makes a request and shows the object it answers with: as a sheet, or as it came.
    pub(super) async fn show(&mut self, call: Call, lines: &[Column]) -> Result<(), ClientError> {
        let answer = self.call(call).await?;
        match self.output {
            Output::Json => self.json(&answer.body),
            Output::Table => self.sheet(lines, &answer.read()?),
        }
    }

    pub(super) fn sheet(&mut self, lines: &[Column], object: &Value) -> Result<(), ClientError> {
        let text = sheet(lines, object, self.screen.layout());
        self.line(&text)
    }

    /// Makes a request whose answer is empty, and says for people that it is done.
    pub(super) async fn done(&mut self, call: Call, said: &str) -> Result<(), ClientError> {
        let answer = self.call(call).await?;
        match self.output {
            Output::Json if answer.body.is_empty() => Ok(()),
            Output::Json => self.json(&answer.body),
            Output::Table => self.line(said),
        }
    }
}

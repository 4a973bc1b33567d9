//! A queue that has not been told yet how long its messages live.

use anyhow::{Result, ensure};

use super::{RabbitMq, virtual_host_of};

impl RabbitMq {
    /// Puts a lane of the virtual host at `url` into the state in which every new one is for a moment on 3.10: it is
    /// there and takes messages, and what it was declared with did not reach it whole.
    pub async fn forget_time_to_live(&self, url: &str, lane: &str) -> Result<()> {
        let host = virtual_host_of(url);
        let question = format!(
            "{{ok, Queue}} = rabbit_amqqueue:lookup(rabbit_misc:r(<<\"{host}\">>, queue, <<\"{lane}\">>)), \
             {{Name, _}} = Server = amqqueue:get_pid(Queue), \
             Told = #{{name => Name, queue_resource => amqqueue:get_name(Queue), \
                 dead_letter_handler => at_least_once, overflow_strategy => reject_publish, \
                 created => erlang:system_time(millisecond)}}, \
             {{ok, ok, _}} = ra:process_command(Server, rabbit_fifo:make_update_config(Told)), \
             told."
        );
        let answer = self.ctl(&["eval", &question]).await?;
        ensure!(answer.trim() == "told", "{answer}");
        Ok(())
    }
}

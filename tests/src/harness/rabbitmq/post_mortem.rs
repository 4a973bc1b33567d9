//! What a broker says of its queues when a test has failed: AMQP does not tell half of it.

use anyhow::{Context, Result};

use super::{RabbitMq, RabbitMqCluster, virtual_host_of};

/// How many of the latest lines of the log that tell of something unusual are told.
const LINES: usize = 60;

/// Every helper that moves messages out of a quorum queue: of which queue, what it is doing, how many messages wait for
/// it, how many it has handed over that were not taken yet, and the number of the next.
const HELPERS: &str = "[begin \
    Known = process_info(Pid, [current_function, message_queue_len, status]), \
    State = try sys:get_state(Pid, 2000) catch _:Why -> {silent, Why} end, \
    case State of \
        {state, {resource, _, queue, Queue}, _, _, _, _, _, Pending, _, Next, _, Timer, Logged} -> \
            {Queue, Known, map_size(Pending), Next, Timer, maps:keys(Logged)}; \
        Other -> {Pid, Known, Other} \
    end \
end || {_, Pid, _, _} <- supervisor:which_children(rabbit_fifo_dlx_sup)].";

/// How many messages each helper of this lane has handed over that were not taken yet: one number, or none.
fn in_hand_of_helpers(host: &str, lane: &str) -> String {
    format!(
        "Helpers = try supervisor:which_children(rabbit_fifo_dlx_sup) catch exit:_ -> [] end, \
         Lane = rabbit_misc:r(<<\"{host}\">>, queue, <<\"{lane}\">>), \
         [map_size(element(8, State)) || {{_, Pid, _, _}} <- Helpers, State <- [sys:get_state(Pid, 2000)], \
             element(2, State) =:= Lane]."
    )
}

impl RabbitMq {
    /// The queues of the virtual host at `url`, the helpers of all, and what its log has of warnings and errors; or why it
    /// does not say.
    pub async fn post_mortem(&self, url: &str) -> String {
        let host = virtual_host_of(url);
        // What is in none of the two is being moved out.
        let queues =
            ["name", "messages", "messages_ready", "messages_unacknowledged", "consumers", "state", "leader"];
        let listing: Vec<&str> = ["list_queues", "-p", &host].into_iter().chain(queues).collect();
        self.answer(&listing).await + &self.account_of_helpers().await
    }

    /// What its helpers do, and its warnings.
    async fn account_of_helpers(&self) -> String {
        let warnings = self.warnings().unwrap_or_else(|error| format!("{error}\n"));
        self.answer(&["eval", HELPERS]).await + &warnings
    }

    async fn answer(&self, question: &[&str]) -> String {
        self.ctl(question).await.unwrap_or_else(|error| format!("{error:#}\n"))
    }

    fn warnings(&self) -> std::io::Result<String> {
        let mut warnings = String::new();
        for entry in std::fs::read_dir(self.folder().join("log"))? {
            let content = std::fs::read(entry?.path())?;
            let log = String::from_utf8_lossy(&content);
            let unusual = |line: &&str| ["[warning]", "[error]"].iter().any(|level| line.contains(level));
            let lines: Vec<&str> = log.lines().filter(unusual).collect();
            for line in &lines[lines.len().saturating_sub(LINES)..] {
                warnings.push_str(line);
                warnings.push('\n');
            }
        }
        Ok(warnings)
    }
}

impl RabbitMqCluster {
    /// As [`RabbitMq::post_mortem`], with the helpers and the warnings of each node.
    pub async fn post_mortem(&self, url: &str) -> String {
        let mut told = self.nodes[0].post_mortem(url).await;
        for node in &self.nodes[1..] {
            told.push_str(&format!("\n{}\n{}", node.node(), node.account_of_helpers().await));
        }
        told
    }

    /// The lanes of the virtual host at `url` of which nothing will ever come while their leader leads: all that they hold
    /// is due, and the leader's helper, if there is one, was told of none of it.
    pub async fn withheld_lanes(&self, url: &str) -> Result<Vec<String>> {
        let host = virtual_host_of(url);
        let columns = ["--no-table-headers", "name", "messages", "messages_ready", "leader"];
        let listing: Vec<&str> = ["list_queues", "-p", &host].into_iter().chain(columns).collect();
        let listed = self.ctl(&listing).await?;
        let mut withheld = Vec::new();
        for row in listed.lines().filter(|row| row.contains(".lane.")) {
            let fields: Vec<&str> = row.split('\t').collect();
            let [lane, messages, ready, leader] = fields[..] else { anyhow::bail!("not four fields: {row}") };
            if messages == "0" || ready != "0" {
                continue;
            }
            let leader = self.nodes.iter().find(|node| node.node() == leader).context("led by no node")?;
            let in_hand = leader.ctl(&["eval", &in_hand_of_helpers(&host, lane)]).await?;
            if ["[]", "[0]"].contains(&in_hand.trim()) {
                withheld.push(lane.to_owned());
            }
        }
        Ok(withheld)
    }
}

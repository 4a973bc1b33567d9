//! What a broker says of its queues when a test has failed: AMQP does not tell half of it.

use super::{RabbitMq, virtual_host_of};

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

impl RabbitMq {
    /// The queues of the virtual host at `url`, the helpers of all, and what its log has of warnings and errors; or why it
    /// does not say.
    pub async fn post_mortem(&self, url: &str) -> String {
        let host = virtual_host_of(url);
        // What is in none of the two is being moved out.
        let queues = ["name", "messages", "messages_ready", "messages_unacknowledged", "consumers", "state"];
        let listing: Vec<&str> = ["list_queues", "-p", &host].into_iter().chain(queues).collect();
        let mut told = String::new();
        for question in [listing.as_slice(), &["eval", HELPERS]] {
            match self.ctl(question).await {
                Ok(answer) => told.push_str(&answer),
                Err(error) => told.push_str(&format!("{error:#}\n")),
            }
        }
        told.push_str(&self.warnings().unwrap_or_else(|error| format!("{error}\n")));
        told
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

//! The broker's settings as they are shipped, for what is to be measured or shown with them.

const SETTINGS: &str = include_str!("../../../../deploy/rabbitmq/rabbitmq.conf");
const ADVANCED: &str = include_str!("../../../../deploy/rabbitmq/advanced.config");

/// The lines of the shipped `rabbitmq.conf` but the limit on free disk, which is for a machine of the broker's own.
pub fn settings() -> Vec<String> {
    let lines = SETTINGS.lines().filter(|line| !line.starts_with('#') && !line.trim().is_empty());
    lines.filter(|line| !line.starts_with("disk_free_limit")).map(str::to_owned).collect()
}

/// The shipped `advanced.config`, as it is.
pub fn advanced() -> &'static str {
    ADVANCED
}

/// What it sets `dead_letter_worker_consumer_prefetch` to.
pub fn dead_letter_prefetch() -> Option<u16> {
    let (_, rest) = ADVANCED.split_once("{dead_letter_worker_consumer_prefetch,")?;
    rest.split_once('}')?.0.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_of_retries_is_given_back_512_at_a_time() {
        assert_eq!(dead_letter_prefetch(), Some(512));
    }
}

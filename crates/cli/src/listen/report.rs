//! What the listener prints of a request.

use bytes::Bytes;
use http::Method;
use postrider_contract::attempt::Header;
use postrider_contract::clock::Timestamp;

use super::checking::Verdict;
use super::pretty::laid_out;
use crate::shown_header::shown_value;
use crate::table::{Hue, Screen, excerpt, printable};

/// What fits a screen.
const EXCERPT_LINES: usize = 30;
const EXCERPT_WIDTH: usize = 200;
/// Every client sends these, and they say nothing about a webhook.
const UNIMPORTANT: [&str; 6] =
    ["host", "accept", "accept-encoding", "connection", "content-length", "user-agent"];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum BodyShown {
    Excerpt,
    Whole,
}

/// A request as it came.
pub(super) struct Received {
    pub(super) number: u64,
    pub(super) at: Timestamp,
    pub(super) method: Method,
    /// Path and query.
    pub(super) target: String,
    pub(super) headers: Vec<Header>,
    pub(super) body: Bytes,
}

/// What was found out about it.
pub(super) struct Findings<'a> {
    pub(super) profile: &'a str,
    pub(super) verdict: &'a Verdict,
    /// How often the same has come; `None` where nothing tells.
    pub(super) times: Option<u64>,
}

impl Received {
    pub(super) fn text(&self, findings: &Findings<'_>, shown: BodyShown, screen: &Screen) -> String {
        let time = self.at.to_string();
        let time = screen.paint(Some(Hue::Grey), time.get(11..23).unwrap_or_default());
        let (method, target) = (printable(self.method.as_str()), printable(&self.target));
        let repeat = match findings.times {
            Some(times) if times > 1 => screen.paint(Some(Hue::Yellow), &format!("  repeat #{times}")),
            Some(_) | None => String::new(),
        };
        let number = self.number;
        let mut text = format!("#{number}  {time}  {method} {target}  {} bytes{repeat}\n", self.body.len());
        text.push_str(&format!("    {}\n", findings.signature(screen)));
        for header in self.headers.iter().filter(|header| is_important(&header.name)) {
            text.push_str(&format!("    {}: {}\n", printable(&header.name), shown_value(header)));
        }
        for line in body_lines(&self.body, shown) {
            text.push_str(&format!("    {line}\n"));
        }
        text
    }
}

impl Findings<'_> {
    fn signature(&self, screen: &Screen) -> String {
        match self.verdict {
            Verdict::Genuine => {
                format!("{} ({})", screen.paint(Some(Hue::Green), "signature ok"), self.profile)
            }
            Verdict::NotChecked(why) => {
                screen.paint(Some(Hue::Grey), &format!("signature not checked: {why} ({})", self.profile))
            }
            Verdict::Refused(why) => {
                let word = screen.paint(Some(Hue::Red), "SIGNATURE WRONG");
                format!("{word}: {} ({})", printable(why), self.profile)
            }
        }
    }
}

fn is_important(name: &str) -> bool {
    !UNIMPORTANT.iter().any(|unimportant| name.eq_ignore_ascii_case(unimportant))
}

fn body_lines(body: &[u8], shown: BodyShown) -> Vec<String> {
    if body.is_empty() {
        return vec!["(no body)".to_owned()];
    }
    let Ok(text) = std::str::from_utf8(body) else { return vec!["(a body that is not text)".to_owned()] };
    let laid_out = laid_out(text);
    let text = laid_out.as_deref().unwrap_or(text);
    match shown {
        BodyShown::Whole => excerpt(text, usize::MAX, usize::MAX).0,
        BodyShown::Excerpt => {
            let (mut lines, is_whole) = excerpt(text, EXCERPT_LINES, EXCERPT_WIDTH);
            if !is_whole {
                lines.push("… (--full shows all of it)".to_owned());
            }
            lines
        }
    }
}

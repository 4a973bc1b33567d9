//! An event whose data is read once, for all who ask for values in it.

use std::cell::OnceCell;

use super::Event;
use crate::json::Node;

/// What it read is kept for as long as it lives: up to forty times the data, so not across a wait.
#[derive(Debug)]
pub struct EventReading<'e> {
    event: &'e Event,
    data: OnceCell<Node<'e>>,
    workflow: OnceCell<Option<Node<'e>>>,
}

impl<'e> EventReading<'e> {
    /// Nothing is read yet.
    #[must_use]
    pub fn of(event: &'e Event) -> Self {
        EventReading { event, data: OnceCell::new(), workflow: OnceCell::new() }
    }

    #[must_use]
    pub fn event(&self) -> &'e Event {
        self.event
    }

    pub fn data(&self) -> &Node<'e> {
        self.data.get_or_init(|| Node::of(&self.event.data))
    }

    pub fn workflow(&self) -> Option<&Node<'e>> {
        self.workflow.get_or_init(|| self.event.workflow.as_ref().map(Node::of)).as_ref()
    }
}

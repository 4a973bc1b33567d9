//! What the roles do to the world, what may become of each such effect, and what a broken role would do instead.

use std::time::Duration;

/// A process that can die by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Role {
    Ingest,
    Worker,
    Status,
}

/// One thing that a role does and that others can see.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Effect {
    /// One message of work.
    Publish,
    /// One message of the journal.
    Append,
    Acknowledge,
    /// One request to a receiver.
    Call,
    /// One statement to the log.
    Apply,
    /// "Was this try recorded?"
    LookUp,
    /// Rows of the waiting room are marked as released, or wait again.
    Mark,
    /// A keyed request begins, or is confirmed.
    Keyed,
    /// Something is read; it changes nothing, and only its failing is of interest.
    Read,
}

/// What becomes of an effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    Happens,
    /// It happens at once, and the role is told late.
    ToldLate(Duration),
    /// It happens late.
    HappensLate(Duration),
    /// It does not happen, and the role cannot know.
    DoubtBefore,
    /// It happens, and the role cannot know.
    DoubtAfter,
    /// It does not happen, and the role is told so.
    Refused,
    /// A message that no queue takes: sent back, which a publisher sees only if it asked for it.
    Returned,
    /// The role dies before it happens.
    CrashBefore,
    /// It happens, and the role dies before it is told.
    CrashAfter,
    /// First the role's connection breaks: what it has in hand goes back to the queue, marked as redelivered.
    Cut,
    /// First the next parked message is doubled, neither copy marked.
    Doubled,
    /// First the next parked message loses its way: it finds no queue when it is due.
    Misrouted,
    /// First a message that came back is taken for one that was given out too often.
    GivenUp,
}

impl Fate {
    /// Those that are worth trying at every step.
    pub const FAULTS: [Fate; 12] = [
        Fate::ToldLate(Duration::from_millis(300)),
        Fate::HappensLate(Duration::from_millis(300)),
        Fate::DoubtBefore,
        Fate::DoubtAfter,
        Fate::Refused,
        Fate::Returned,
        Fate::CrashBefore,
        Fate::CrashAfter,
        Fate::Cut,
        Fate::Doubled,
        Fate::Misrouted,
        Fate::GivenUp,
    ];

    pub const CRASHES: [Fate; 2] = [Fate::CrashBefore, Fate::CrashAfter];
}

/// A bug, put in between a role and its ports: the checker must notice each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mutation {
    /// A worker lets go of a message as soon as it has taken it.
    AcknowledgeAtTake,
    /// A worker's publishes are said to be confirmed before they are.
    AcknowledgeBeforeSuccessor,
    /// A worker's journal records are said to be confirmed before they are.
    AcknowledgeBeforeJournal,
    /// What no queue took is taken for confirmed.
    NotMandatory,
    /// Status is told that the log has committed before it has.
    AcknowledgeBeforeCommit,
    /// Ingest's publishes are said to be confirmed before they are.
    AnswerBeforeConfirm,
    /// A worker does not write down that a delivery is held.
    HoldUnjournaled,
    /// Status marks deliveries as released before their messages are confirmed.
    MarkBeforePublish,
    /// The check takes the record of a try's own deferral for one of the try.
    SuppressOwnDeferral,
    /// Ingest lets go of a producer's message as soon as it has taken it.
    AcknowledgeBeforeAccepted,
    /// Status lets go of a stray as soon as it has taken it.
    AcknowledgeStrayAtTake,
}

impl Mutation {
    pub const ALL: [Mutation; 11] = [
        Mutation::AcknowledgeAtTake,
        Mutation::AcknowledgeBeforeSuccessor,
        Mutation::AcknowledgeBeforeJournal,
        Mutation::NotMandatory,
        Mutation::AcknowledgeBeforeCommit,
        Mutation::AnswerBeforeConfirm,
        Mutation::HoldUnjournaled,
        Mutation::MarkBeforePublish,
        Mutation::SuppressOwnDeferral,
        Mutation::AcknowledgeBeforeAccepted,
        Mutation::AcknowledgeStrayAtTake,
    ];

    /// Whose publishes are answered before they are made.
    pub(super) fn hurries_publishes_of(self, role: Role) -> bool {
        match self {
            Mutation::AcknowledgeBeforeSuccessor => role == Role::Worker,
            Mutation::AnswerBeforeConfirm => role == Role::Ingest,
            Mutation::MarkBeforePublish => role == Role::Status,
            Mutation::AcknowledgeAtTake
            | Mutation::AcknowledgeBeforeJournal
            | Mutation::NotMandatory
            | Mutation::AcknowledgeBeforeCommit
            | Mutation::HoldUnjournaled
            | Mutation::SuppressOwnDeferral
            | Mutation::AcknowledgeBeforeAccepted
            | Mutation::AcknowledgeStrayAtTake => false,
        }
    }
}

//! The tables that messages wait in, and the few statements they are used with.

/// One table a kind, so that the next rows of a kind are found without passing over others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Table {
    First,
    Retry,
    Release,
    Large,
    Journal,
}

macro_rules! for_table {
    ($self:expr, $before:literal, $after:literal) => {
        match $self {
            Table::First => concat!($before, "work_first", $after),
            Table::Retry => concat!($before, "work_retry", $after),
            Table::Release => concat!($before, "work_release", $after),
            Table::Large => concat!($before, "work_large", $after),
            Table::Journal => concat!($before, "journal", $after),
        }
    };
}

impl Table {
    pub(crate) fn name(self) -> &'static str {
        for_table!(self, "", "")
    }

    pub(crate) fn delete_sql(self) -> &'static str {
        for_table!(self, "DELETE FROM ", " WHERE id = ?1")
    }

    /// The lowest and the highest id.
    pub(crate) fn bounds_sql(self) -> &'static str {
        match self {
            Table::First => "SELECT (SELECT min(id) FROM work_first), (SELECT max(id) FROM work_first)",
            Table::Retry => "SELECT (SELECT min(id) FROM work_retry), (SELECT max(id) FROM work_retry)",
            Table::Release => "SELECT (SELECT min(id) FROM work_release), (SELECT max(id) FROM work_release)",
            Table::Large => "SELECT (SELECT min(id) FROM work_large), (SELECT max(id) FROM work_large)",
            Table::Journal => "SELECT (SELECT min(id) FROM journal), (SELECT max(id) FROM journal)",
        }
    }

    pub(crate) fn count_sql(self) -> &'static str {
        for_table!(self, "SELECT count(*) FROM ", "")
    }

    pub(crate) fn payload_sql(self) -> &'static str {
        for_table!(self, "SELECT payload FROM ", " WHERE id = ?1")
    }

    /// From ?1 to ?2, in order.
    pub(crate) fn range_sql(self) -> &'static str {
        for_table!(self, "SELECT id, payload FROM ", " WHERE id BETWEEN ?1 AND ?2 ORDER BY id")
    }

    /// Columns: id ?1, payload ?2, and the table's time, if it has one, ?3.
    pub(crate) fn insert_sql(self) -> &'static str {
        match self {
            Table::First => "INSERT INTO work_first (id, payload) VALUES (?1, ?2)",
            Table::Release => "INSERT INTO work_release (id, payload) VALUES (?1, ?2)",
            Table::Large => "INSERT INTO work_large (id, payload) VALUES (?1, ?2)",
            Table::Retry => "INSERT INTO work_retry (id, payload, due_at) VALUES (?1, ?2, ?3)",
            Table::Journal => "INSERT INTO journal (id, payload, written_at) VALUES (?1, ?2, ?3)",
        }
    }

    /// Sets a row aside: id ?1, source ?2, reason ?3, time ?4, its id among the dead ?5. Deleting it is a statement of
    /// its own.
    pub(crate) fn bury_sql(self) -> &'static str {
        for_table!(
            self,
            "INSERT INTO dead (id, source, reason, buried_at, payload) SELECT ?5, ?2, ?3, ?4, payload FROM ",
            " WHERE id = ?1"
        )
    }
}

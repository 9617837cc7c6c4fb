//! Why the database did not do what it was asked.

use std::path::PathBuf;
use std::sync::Arc;

type Source = Arc<dyn std::error::Error + Send + Sync>;

/// Why the database did not do what it was asked.
#[derive(Debug, Clone, thiserror::Error)]
pub enum StoreError {
    /// The file cannot be opened.
    #[error("cannot open the database {path}", path = path.display())]
    Open {
        /// The file.
        path: PathBuf,
        /// Why.
        source: Source,
    },
    /// The database refused a statement.
    #[error("the database refused `{statement}`")]
    Sql {
        /// The statement, cut short.
        statement: String,
        /// Whether a rule of the table (unique, not null, foreign key) was broken.
        constraint: bool,
        /// Why.
        source: Source,
    },
    /// A column holds another kind of value than the reader wants.
    #[error("column {column} holds {found}, not {wanted}")]
    Column {
        /// Its index.
        column: usize,
        /// What it holds.
        found: &'static str,
        /// What the reader wants.
        wanted: &'static str,
    },
    /// A step of a room's migrations is not the one that this database ran.
    #[error("step {step} of the tables of `{room}` is not the one that made this database")]
    Changed {
        /// The room.
        room: String,
        /// The step, counted from 1.
        step: usize,
    },
    /// The database was used by a newer program.
    #[error("the tables of `{room}` are of step {found}, this program knows {known}")]
    Newer {
        /// The room.
        room: String,
        /// Steps that ran.
        found: usize,
        /// Steps that this program knows.
        known: usize,
    },
    /// The database is closed.
    #[error("the database is closed")]
    Closed,
    /// The closure that was to read or write panicked; nothing of it was kept.
    #[error("a transaction ended in a panic")]
    Panicked,
}

impl StoreError {
    /// Wraps the driver's error; made for `map_err`.
    pub(crate) fn sql(statement: &str) -> impl FnOnce(rusqlite::Error) -> StoreError + use<> {
        let statement: String = statement.chars().take(120).collect();
        move |source| StoreError::Sql {
            statement,
            constraint: source.sqlite_error_code()
                == Some(rusqlite::ErrorCode::ConstraintViolation),
            source: Arc::new(source),
        }
    }

    /// Whether a rule of a table (unique, not null, foreign key) was broken.
    pub fn is_constraint(&self) -> bool {
        match self {
            StoreError::Sql { constraint, .. } => *constraint,
            StoreError::Open { .. }
            | StoreError::Column { .. }
            | StoreError::Changed { .. }
            | StoreError::Newer { .. }
            | StoreError::Closed
            | StoreError::Panicked => false,
        }
    }

    /// What to do about it.
    pub fn hint(&self) -> Option<String> {
        match self {
            StoreError::Newer { .. } => {
                Some("start the newer program, or restore the backup made before it ran".into())
            }
            StoreError::Changed { .. } => Some(
                "the database was made by another build; steps that ran are never edited".into(),
            ),
            StoreError::Open { .. }
            | StoreError::Sql { .. }
            | StoreError::Column { .. }
            | StoreError::Closed
            | StoreError::Panicked => None,
        }
    }
}

use diesel::prelude::*;
use diesel_async::RunQueryDsl;
use gradient_domain::{EvaluationId, EvaluationMessageId, MessageLevel, Moment};

use crate::{
    Conn, StorageError,
    conn::{insert_rows, query},
    schema::{evaluation_messages, evaluations},
};

/// Something to tell the people who look at an evaluation.
#[derive(Debug, Clone, PartialEq, Eq, Queryable, Selectable, Insertable)]
#[diesel(table_name = evaluation_messages, treat_none_as_default_value = false)]
pub struct EvaluationMessage {
    /// Its id; later ones are greater.
    pub id: EvaluationMessageId,
    /// What it is about.
    pub evaluation: EvaluationId,
    /// How much it matters.
    pub level: MessageLevel,
    /// What says so.
    pub source: String,
    /// The attribute it is about, when it is about one.
    pub attribute: Option<String>,
    /// The text.
    pub message: String,
    /// When it came in.
    pub created_at: Moment,
}

/// A message that is not stored yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewMessage {
    /// How much it matters.
    pub level: MessageLevel,
    /// What says so: `nix`, `wildcard`, `fetch` …
    pub source: String,
    /// The attribute it is about, when it is about one.
    pub attribute: Option<String>,
    /// The text.
    pub message: String,
}

/// Adds messages, and counts them. To be called in a transaction.
pub async fn insert_messages(
    conn: &mut Conn,
    evaluation: EvaluationId,
    messages: Vec<NewMessage>,
    now: Moment,
) -> Result<(), StorageError> {
    let count = |level| i32::try_from(messages.iter().filter(|message| message.level == level).count()).unwrap_or(i32::MAX);
    let (errors, warnings) = (count(MessageLevel::Error), count(MessageLevel::Warning));
    if messages.is_empty() {
        return Ok(());
    }
    query!(&mut *conn, |c| {
        let counted = (
            evaluations::error_count.eq(evaluations::error_count + errors),
            evaluations::warning_count.eq(evaluations::warning_count + warnings),
            evaluations::updated_at.eq(now),
        );
        diesel::update(evaluations::table.find(evaluation)).set(counted).execute(c).await?
    });
    let rows = messages.into_iter().map(|new| EvaluationMessage {
        id: EvaluationMessageId::new(),
        evaluation,
        level: new.level,
        source: new.source,
        attribute: new.attribute,
        message: new.message,
        created_at: now,
    });
    insert_rows!(conn, evaluation_messages::table, 7, rows);
    Ok(())
}

/// The messages of an evaluation, oldest first.
pub async fn messages(conn: &mut Conn, evaluation: EvaluationId) -> Result<Vec<EvaluationMessage>, StorageError> {
    Ok(query!(conn, |c| {
        let all = evaluation_messages::table.filter(evaluation_messages::evaluation.eq(evaluation));
        all.order(evaluation_messages::id).select(EvaluationMessage::as_select()).load(c).await?
    }))
}

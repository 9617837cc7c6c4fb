//! The stack user of a resource: coined with the row, made before it is needed.

use cloud::Secret;

use super::{Outcome, Work, coin};
use crate::failure::Failure;
use crate::model::{ALPHANUMERIC, Row, random_text};
use crate::record::Put;
use crate::users::UserError;

impl From<UserError> for Failure {
    fn from(error: UserError) -> Failure {
        Failure {
            retry: error.retryable,
            ..Failure::new("Forbidden", error.to_string())
        }
    }
}

/// Coins what the account of a row is made of. Its name is the row's physical name.
pub(super) fn coin_account(row: &mut Row) {
    coin(row, "password", || random_text(32, ALPHANUMERIC));
    coin(row, "access_key", || hex_text(32));
    coin(row, "secret_key", || hex_text(32));
}

fn hex_text(length: usize) -> String {
    random_text(length, b"0123456789abcdef")
}

/// Makes the account; its id is noted. With a key pair, requests can be signed.
pub(super) async fn make(
    work: &Work,
    key_pair: bool,
    outcome: &mut Outcome,
) -> Result<String, Failure> {
    let users = &work.setup.users;
    let note = |key: &str| work.row.note(key).unwrap_or_default().to_owned();
    let password = Secret::new(note("password"));
    let name = &work.row.physical_name;
    let id = users
        .ensure_user(name, &work.user_project, &password)
        .await?;
    let access = note("access_key");
    if key_pair {
        let secret = Secret::new(note("secret_key"));
        users
            .ensure_key_pair(&id, &work.user_project, &access, &secret)
            .await?;
    }
    outcome
        .notes
        .insert("user_id".to_owned(), id.clone().into());
    outcome.puts.push(Put::User {
        id: id.clone(),
        access: key_pair.then_some(access),
        resource: work.row.id,
    });
    Ok(id)
}

/// Removes the account, if one was made or begun.
pub(super) async fn remove(work: &Work, outcome: &mut Outcome) -> Result<(), Failure> {
    if let Some(id) = work.row.note("user_id") {
        work.setup.users.remove_user(id).await?;
        outcome.puts.push(Put::DropUser(id.to_owned()));
    } else if work.row.note("password").is_some() && !work.user_project.is_empty() {
        // It may have been made without its id being noted. Making it again gives the id.
        let password = Secret::new(work.row.note("password").unwrap_or_default());
        let name = &work.row.physical_name;
        let users = &work.setup.users;
        let id = users
            .ensure_user(name, &work.user_project, &password)
            .await?;
        users.remove_user(&id).await?;
    }
    Ok(())
}

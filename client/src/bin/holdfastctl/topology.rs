//! `topology`: where the members stand and what the loss of a zone would cost.

use crate::Session;
use crate::failure::Failure;

pub(crate) async fn topology(session: &Session) -> Result<(), Failure> {
    let answer = session.client.topology().await?;
    session.printer.show(&answer)?;
    // Also where a script that reads only the answer does not see them, and a person does.
    for warning in &answer.warnings {
        eprintln!("WARNING: {warning}");
    }
    Ok(())
}

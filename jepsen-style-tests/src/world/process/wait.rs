//! Waiting for another process: asked again and again, with a limit, and with the last reason in the message.

use std::future::Future;
use std::time::{Duration, Instant};

/// How long anything may take that should happen within a second or two. Generous: the machine may be busy.
pub const PATIENCE: Duration = Duration::from_secs(60);
const PAUSE: Duration = Duration::from_millis(20);

/// Asks until the answer is `Ok`. `Err` says why not yet.
///
/// # Panics
/// After `limit`, with `what` was awaited and the last reason.
pub async fn until<T, F, Fut>(limit: Duration, what: &str, mut ask: F) -> T
where
    F: FnMut() -> Fut,
    Fut: Future<Output = Result<T, String>>,
{
    let begun = Instant::now();
    let mut reason = "it was never asked".to_owned();
    while begun.elapsed() < limit {
        // The question itself may hang: a paused process takes connections and answers nothing.
        match tokio::time::timeout(limit.saturating_sub(begun.elapsed()), ask()).await {
            Ok(Ok(answer)) => return answer,
            Ok(Err(why)) => reason = why,
            Err(_) => reason = format!("the question was not answered; before it: {reason}"),
        }
        tokio::time::sleep(PAUSE).await;
    }
    panic!("after {limit:?} there is still no {what}: {reason}")
}

//! The end of streams when the node stops: a call that never ends by itself would hold the server up for ever.

use crate::rt;
use crate::rt::watch::WatchReceiver as _;

/// Resolves when the node begins to stop.
pub async fn requested(stopping: &mut rt::watch::Receiver<bool>) {
    while !*stopping.borrow_and_update() {
        if stopping.changed().await.is_err() {
            // Whoever could say so is gone: the node has stopped.
            return;
        }
    }
}

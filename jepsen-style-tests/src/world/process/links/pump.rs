//! One direction of one connection: bytes are read, wait as long as the rule says, and are written.

use std::collections::VecDeque;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};

use super::rule::{Dice, Passage, Rule};

const PIECE_BYTES_MAX: usize = 64 * 1024;
/// What may be under way on a slow link; beyond it the sender is not read from, and learns to wait.
const QUEUED_BYTES_MAX: usize = 4 * 1024 * 1024;

/// The connection was reset, or one of its ends is gone.
#[derive(Debug)]
pub(super) struct Broken;

/// Bytes on their way.
struct Piece {
    due: Instant,
    bytes: Vec<u8>,
}

/// Runs until the sender ends its direction, and passes that on.
pub(super) async fn run(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    mut rule: watch::Receiver<Rule>,
    mut dice: Dice,
) -> Result<(), Broken> {
    let mut buffer = vec![0; PIECE_BYTES_MAX];
    let mut queue: VecDeque<Piece> = VecDeque::new();
    let mut queued_bytes = 0;
    let mut last_due = Instant::now();
    let mut has_ended = false;
    loop {
        let now = *rule.borrow_and_update();
        let is_open = now.passage == Passage::Open;
        if has_ended && queue.is_empty() && is_open {
            return to.shutdown().await.map_err(|_| Broken);
        }
        let front = queue.front().map(|piece| piece.due);
        tokio::select! {
            biased;
            changed = rule.changed() => changed.map_err(|_| Broken)?,
            () = until(front), if is_open && front.is_some() => {
                let Some(piece) = queue.pop_front() else { continue };
                queued_bytes -= piece.bytes.len();
                to.write_all(&piece.bytes).await.map_err(|_| Broken)?;
            }
            read = from.read(&mut buffer), if is_open && !has_ended && queued_bytes < QUEUED_BYTES_MAX => {
                let length = read.map_err(|_| Broken)?;
                if length == 0 {
                    has_ended = true;
                } else if queue.is_empty() && now.is_plain() {
                    to.write_all(&buffer[..length]).await.map_err(|_| Broken)?;
                } else {
                    // A narrow link is busy with what came before; a long one carries both at once.
                    let takes = now.takes(length, &mut dice);
                    let begins = if now.bytes_per_s.is_some() { last_due.max(Instant::now()) } else { Instant::now() };
                    last_due = last_due.max(begins + takes);
                    queue.push_back(Piece { due: last_due, bytes: buffer[..length].to_vec() });
                    queued_bytes += length;
                }
            }
        }
    }
}

async fn until(due: Option<Instant>) {
    match due {
        Some(due) if due > Instant::now() => sleep_until(due).await,
        Some(_) => {}
        None => tokio::time::sleep(Duration::from_secs(3600)).await,
    }
}

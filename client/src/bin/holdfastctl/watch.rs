//! `watch`: shows what changes until it is interrupted or the history it needs is gone.

use futures::StreamExt;
use holdfast_client::{Error, Update};

use crate::Session;
use crate::args::{WatchArgs, bytes};
use crate::failure::Failure;
use crate::output::WatchEnded;

pub(crate) async fn watch(session: &Session, args: WatchArgs) -> Result<(), Failure> {
    if args.prefix && args.range_end.is_some() {
        return Err(Failure::args("`range_end` and `--prefix` cannot be set at the same time, choose one"));
    }
    let mut watch = session.client.watch(bytes(args.key)).start_revision(args.rev);
    if args.prefix {
        watch = watch.prefix();
    } else if let Some(end) = args.range_end {
        watch = watch.range(bytes(end));
    }
    if args.prev_kv {
        watch = watch.prev_kv();
    }
    if args.progress_notify {
        watch = watch.progress_notify();
    }
    let mut updates = watch.await?;
    while let Some(update) = updates.next().await {
        match update {
            Ok(update) => session.printer.show::<Update>(&update)?,
            Err(Error::Compacted { compact_revision }) => {
                session.printer.show_if_json(&WatchEnded { compact_revision })?;
                return Err(Failure::interrupted(format!(
                    "watch was canceled (etcdserver: mvcc: required revision has been compacted); \
                     watch from revision {compact_revision} or later"
                )));
            }
            Err(error) => return Err(error.into()),
        }
    }
    Err(Failure::interrupted("watch is canceled by the server"))
}

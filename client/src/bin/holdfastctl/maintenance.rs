//! `alarm`, `defrag`, `snapshot`, `move-leader`.

use std::path::{Path, PathBuf};
use std::time::Instant;

use holdfast_client::proto::etcdserverpb::{AlarmResponse, AlarmType};

use crate::Session;
use crate::args::{AlarmCommand, ClusterArgs, MoveLeaderArgs, SnapshotCommand};
use crate::endpoint::members;
use crate::failure::Failure;
use crate::member::member_id;
use crate::output::{self, go};

pub(crate) async fn alarm(session: &Session, command: AlarmCommand) -> Result<(), Failure> {
    let raised = session.client.alarms().await?;
    let shown = match command {
        AlarmCommand::List => raised,
        AlarmCommand::Disarm => {
            let mut disarmed = AlarmResponse::default();
            for one in raised.alarms {
                let alarm = AlarmType::try_from(one.alarm).unwrap_or_default();
                disarmed.alarms.extend(session.client.alarm_disarm(one.member_id, alarm).await?.alarms);
            }
            disarmed
        }
    };
    session.printer.show(&shown)
}

pub(crate) async fn defrag(session: &Session, args: ClusterArgs) -> Result<(), Failure> {
    let endpoints = if args.cluster { members(session).await? } else { session.endpoints.clone() };
    let mut failed = Ok(());
    // One after the other: a member that is busy with itself should not be joined by its neighbour.
    for endpoint in endpoints {
        match session.client.defragment(&endpoint).await {
            Ok(_) => output::line(&format!("Finished defragmenting etcd member[{endpoint}]"))?,
            Err(error) => {
                eprintln!("Failed to defragment etcd member[{endpoint}] ({error})");
                failed = Err(Failure::error("not every member was defragmented"));
            }
        }
    }
    failed
}

pub(crate) async fn snapshot(session: &Session, command: SnapshotCommand) -> Result<(), Failure> {
    let SnapshotCommand::Save { path } = command;
    let [endpoint] = session.endpoints.as_slice() else {
        let message = "snapshot must be requested to one selected node, not multiple; give one --endpoints";
        return Err(Failure::args(format!("{message} {:?}", session.endpoints)));
    };
    let begun = Instant::now();
    let part = PathBuf::from(format!("{}.part", path.display()));
    let outcome = save(session, endpoint, &path, &part).await;
    match outcome {
        Ok(bytes) => {
            let size = go::size(bytes);
            eprintln!("fetched {size} from {endpoint} in {}; checksum verified", go::duration(begun.elapsed()));
            output::line(&format!("Snapshot saved at {}", path.display()))
        }
        Err(failure) => {
            // What is there is of no use, and its absence is no trouble.
            let _ = std::fs::remove_file(&part);
            Err(failure)
        }
    }
}

/// The file appears under its name only when it is whole, checked and on disk.
async fn save(session: &Session, endpoint: &str, path: &Path, part: &Path) -> Result<u64, Failure> {
    let creating = |error| Failure::file(&format!("cannot create {}", part.display()), &error);
    let mut options = tokio::fs::OpenOptions::new();
    let mut file = options.write(true).create(true).truncate(true).mode(0o600).open(part).await.map_err(creating)?;
    let saved = session.client.snapshot(endpoint, &mut file).await?;
    let finishing = |error| Failure::file(&format!("cannot finish {}", path.display()), &error);
    file.sync_all().await.map_err(finishing)?;
    drop(file);
    tokio::fs::rename(part, path).await.map_err(finishing)?;
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let folder = tokio::fs::File::open(folder).await.map_err(finishing)?;
    folder.sync_all().await.map_err(finishing)?;
    Ok(saved.bytes)
}

pub(crate) async fn move_leader(session: &Session, args: MoveLeaderArgs) -> Result<(), Failure> {
    let target = member_id(&args.target)?;
    let before = session.client.find_leader().await.unwrap_or_default();
    session.client.move_leader(target).await?;
    output::line(&format!("Leadership transferred from {before:x} to {target:x}"))
}

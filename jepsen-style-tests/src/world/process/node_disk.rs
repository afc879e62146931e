//! The disk of one node of a [`super::ProcessWorld`]: whatever faults say of it, in whichever order they come and go.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use parking_lot::Mutex;

use super::disk::{DiskError, SmallDisk};

/// Between two stalls of a slow disk.
const BETWEEN_STALLS: Duration = Duration::from_millis(20);

/// What faults want of a disk.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Wanted {
    pub hangs: bool,
    /// Each stall takes up to this long.
    pub slow: Option<Duration>,
    pub is_full: bool,
    pub fails: bool,
}

pub(super) struct NodeDisk {
    disk: Arc<Mutex<SmallDisk>>,
    is: Wanted,
    stalls: Option<Stalls>,
}

/// A thread that freezes a disk again and again.
struct Stalls {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<()>,
}

impl NodeDisk {
    pub(super) fn new(disk: SmallDisk) -> Self {
        Self { disk: Arc::new(Mutex::new(disk)), is: Wanted::default(), stalls: None }
    }

    pub(super) fn data_dir(&self) -> std::path::PathBuf {
        self.disk.lock().root().join("data")
    }

    /// Whether its file system must be mounted again before it can be used.
    pub(super) fn fails(&self) -> bool {
        self.is.fails
    }

    /// Brings the disk where faults want it. One that fails stays so: see [`Self::replace`].
    pub(super) fn settle(&mut self, wanted: Wanted) -> Result<(), DiskError> {
        if self.is.fails {
            return Ok(());
        }
        if wanted.fails {
            self.let_go()?;
            self.disk.lock().fail()?;
            self.is = Wanted { fails: true, ..self.is };
            return Ok(());
        }
        if self.is.is_full != wanted.is_full {
            // A frozen disk can be neither filled nor emptied.
            self.let_go()?;
            let disk = self.disk.lock();
            if wanted.is_full {
                disk.fill(0);
            } else {
                disk.clear();
            }
            self.is.is_full = wanted.is_full;
        }
        let slow = wanted.slow.filter(|_| !wanted.hangs);
        if (self.is.hangs, self.is.slow) != (wanted.hangs, slow) {
            self.let_go()?;
            if wanted.hangs {
                self.disk.lock().freeze()?;
            }
            self.stalls = slow.map(|longest| Stalls::begin(Arc::clone(&self.disk), longest));
            (self.is.hangs, self.is.slow) = (wanted.hangs, slow);
        }
        Ok(())
    }

    /// Whoever waits for this disk goes on. A process that waits for a frozen one cannot even be killed.
    pub(super) fn let_go(&mut self) -> Result<(), DiskError> {
        if let Some(stalls) = self.stalls.take() {
            stalls.end();
        }
        self.is.slow = None;
        if std::mem::take(&mut self.is.hangs) {
            self.disk.lock().thaw()?;
        }
        Ok(())
    }

    /// What was not synced is gone. The node must be killed at once, and [`Self::replace`] be called before it starts.
    pub(super) fn lose_power(&mut self) -> Result<(), DiskError> {
        self.let_go()?;
        self.disk.lock().lose_power()?;
        self.is.fails = true;
        Ok(())
    }

    /// A disk that failed works again, with what it has. Its node does not run.
    pub(super) fn replace(&mut self) -> Result<(), DiskError> {
        if std::mem::take(&mut self.is.fails) {
            let mut disk = self.disk.lock();
            disk.mount_again()?;
            // Loss of power may have undone that it was emptied.
            disk.clear();
            self.is.is_full = false;
        }
        Ok(())
    }
}

impl Drop for NodeDisk {
    fn drop(&mut self) {
        // The holder of the file system does the same when its input ends.
        let _gone = self.let_go();
    }
}

impl Stalls {
    fn begin(disk: Arc<Mutex<SmallDisk>>, longest: Duration) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let thread = std::thread::spawn(move || {
            while !stopped.load(Ordering::Relaxed) {
                let stall = longest.mul_f64(rand::random_range(0.0..=1.0));
                if disk.lock().freeze().is_ok() {
                    std::thread::sleep(stall);
                    // It was frozen just now; if the tool fails, its holder thaws it in the end.
                    let _thawed = disk.lock().thaw();
                }
                std::thread::sleep(BETWEEN_STALLS);
            }
        });
        Self { stop, thread }
    }

    /// Returns when the disk is thawed.
    fn end(self) {
        self.stop.store(true, Ordering::Relaxed);
        // A thread that panicked has nothing to say that the disk's next order would not.
        let _ended = self.thread.join();
    }
}

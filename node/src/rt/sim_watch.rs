//! A watch channel that draws nothing from chance.
//!
//! tokio's picks one of eight wait lists with a generator seeded from a process-wide counter, so that the third run of
//! a seed in one process differs from the first. This one wakes its waiters in the order in which they came.

use std::future::poll_fn;
use std::sync::Arc;
use std::task::{Poll, Waker};

use openraft_rt::watch as contract;
use openraft_rt::{OptionalSend, OptionalSync};
use parking_lot::{Mutex, RwLock, RwLockReadGuard};

pub struct SimWatch;

struct Waiters {
    /// Counts the changes.
    version: u64,
    senders: usize,
    receivers: usize,
    last_receiver_id: u64,
    wakers: Vec<(u64, Waker)>,
}

struct Shared<T> {
    value: RwLock<T>,
    waiters: Mutex<Waiters>,
}

impl<T> Shared<T> {
    fn changed(&self) {
        self.waiters.lock().version += 1;
        self.wake_all();
    }

    fn wake_all(&self) {
        let wakers = std::mem::take(&mut self.waiters.lock().wakers);
        for (_, waker) in wakers {
            waker.wake();
        }
    }

    fn new_receiver(self: &Arc<Self>) -> SimWatchReceiver<T> {
        let mut waiters = self.waiters.lock();
        waiters.receivers += 1;
        waiters.last_receiver_id += 1;
        SimWatchReceiver { id: waiters.last_receiver_id, seen: waiters.version, shared: Arc::clone(self) }
    }
}

pub struct SimWatchSender<T> {
    shared: Arc<Shared<T>>,
}

pub struct SimWatchReceiver<T> {
    shared: Arc<Shared<T>>,
    /// The version this receiver last saw.
    seen: u64,
    id: u64,
}

impl<T> Clone for SimWatchSender<T> {
    fn clone(&self) -> Self {
        self.shared.waiters.lock().senders += 1;
        Self { shared: Arc::clone(&self.shared) }
    }
}

impl<T> Drop for SimWatchSender<T> {
    fn drop(&mut self) {
        let left = {
            let mut waiters = self.shared.waiters.lock();
            waiters.senders -= 1;
            waiters.senders
        };
        if left == 0 {
            self.shared.wake_all();
        }
    }
}

impl<T> Clone for SimWatchReceiver<T> {
    fn clone(&self) -> Self {
        let mut copy = self.shared.new_receiver();
        copy.seen = self.seen;
        copy
    }
}

impl<T> Drop for SimWatchReceiver<T> {
    fn drop(&mut self) {
        let id = self.id;
        let mut waiters = self.shared.waiters.lock();
        waiters.receivers -= 1;
        waiters.wakers.retain(|(waiter, _)| *waiter != id);
    }
}

impl contract::Watch for SimWatch {
    type Sender<T: OptionalSend + OptionalSync> = SimWatchSender<T>;
    type Receiver<T: OptionalSend + OptionalSync> = SimWatchReceiver<T>;
    type Ref<'a, T: OptionalSend + 'a> = RwLockReadGuard<'a, T>;

    fn channel<T: OptionalSend + OptionalSync>(first: T) -> (Self::Sender<T>, Self::Receiver<T>) {
        let waiters = Waiters { version: 0, senders: 1, receivers: 0, last_receiver_id: 0, wakers: Vec::new() };
        let shared = Arc::new(Shared { value: RwLock::new(first), waiters: Mutex::new(waiters) });
        let receiver = shared.new_receiver();
        (SimWatchSender { shared }, receiver)
    }
}

impl<T: OptionalSend + OptionalSync> contract::WatchSender<SimWatch, T> for SimWatchSender<T> {
    fn send(&self, value: T) -> Result<(), contract::SendError<T>> {
        if self.shared.waiters.lock().receivers == 0 {
            return Err(contract::SendError(value));
        }
        *self.shared.value.write() = value;
        self.shared.changed();
        Ok(())
    }

    fn send_if_modified<F: FnOnce(&mut T) -> bool>(&self, modify: F) -> bool {
        let modified = modify(&mut self.shared.value.write());
        if modified {
            self.shared.changed();
        }
        modified
    }

    fn borrow_watched(&self) -> RwLockReadGuard<'_, T> {
        self.shared.value.read()
    }

    fn subscribe(&self) -> SimWatchReceiver<T> {
        self.shared.new_receiver()
    }
}

impl<T: OptionalSend + OptionalSync> contract::WatchReceiver<SimWatch, T> for SimWatchReceiver<T> {
    async fn changed(&mut self) -> Result<(), contract::RecvError> {
        poll_fn(|context| {
            let mut waiters = self.shared.waiters.lock();
            if waiters.version != self.seen {
                self.seen = waiters.version;
                return Poll::Ready(Ok(()));
            }
            if waiters.senders == 0 {
                return Poll::Ready(Err(contract::RecvError(())));
            }
            let id = self.id;
            match waiters.wakers.iter_mut().find(|(waiter, _)| *waiter == id) {
                Some((_, waker)) => waker.clone_from(context.waker()),
                None => waiters.wakers.push((id, context.waker().clone())),
            }
            Poll::Pending
        })
        .await
    }

    fn borrow_watched(&self) -> RwLockReadGuard<'_, T> {
        self.shared.value.read()
    }

    fn borrow_and_update(&mut self) -> RwLockReadGuard<'_, T> {
        self.seen = self.shared.waiters.lock().version;
        self.shared.value.read()
    }
}

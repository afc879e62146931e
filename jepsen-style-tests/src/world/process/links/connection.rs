//! One proxied connection: two directions, and the ways in which it ends.

use std::net::SocketAddr;

use tokio::net::TcpStream;
use tokio::sync::watch;

use super::pump;
use super::rule::{Dice, Passage, Rule};

/// The rules of both directions.
pub(super) struct Ends {
    /// From whoever dialled.
    pub out: watch::Receiver<Rule>,
    pub back: watch::Receiver<Rule>,
    pub seeds: [u64; 2],
}

/// How a connection ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum How {
    Ended,
    /// The node did not take it.
    NobodyThere,
}

/// What is dropped now ends with a reset, not with an orderly end.
pub(super) fn reset(socket: &TcpStream) {
    // A socket that the other side has reset already cannot be told, and need not.
    let _gone_already = socket.set_zero_linger();
}

pub(super) async fn serve(dialler: TcpStream, target: SocketAddr, mut ends: Ends) -> How {
    let resets = ends.resets();
    // A held link does not even let the opening through: the node hears of nothing.
    if !ends.open().await {
        reset(&dialler);
        return How::Ended;
    }
    let Ok(mut node) = TcpStream::connect(target).await else {
        reset(&dialler);
        return How::NobodyThere;
    };
    let mut dialler = dialler;
    // Small pieces are not to wait for company; a socket that cannot be told is about to fail anyway.
    let _told = (dialler.set_nodelay(true), node.set_nodelay(true));
    let ended = {
        let (dialler_reads, dialler_writes) = dialler.split();
        let (node_reads, node_writes) = node.split();
        let [out_dice, back_dice] = ends.seeds.map(Dice::new);
        let out = pump::run(dialler_reads, node_writes, ends.out.clone(), out_dice);
        let back = pump::run(node_reads, dialler_writes, ends.back.clone(), back_dice);
        tokio::select! {
            biased;
            ended = async { tokio::try_join!(out, back) } => ended.map(drop),
            () = ends.torn(resets) => Err(pump::Broken),
        }
    };
    if ended.is_err() {
        reset(&dialler);
        reset(&node);
    }
    How::Ended
}

impl Ends {
    fn resets(&self) -> [u64; 2] {
        [self.out.borrow().resets, self.back.borrow().resets]
    }

    /// Waits while a direction is held. False if the link refuses, or is reset meanwhile.
    async fn open(&mut self) -> bool {
        let before = self.resets();
        loop {
            let passages = [self.out.borrow_and_update().passage, self.back.borrow_and_update().passage];
            if passages.contains(&Passage::Refused) || self.resets() != before {
                return false;
            }
            if !passages.contains(&Passage::Held) {
                return true;
            }
            if !self.changed().await {
                return false;
            }
        }
    }

    /// Waits until a direction refuses or resets.
    async fn torn(&mut self, before: [u64; 2]) {
        loop {
            let passages = [self.out.borrow_and_update().passage, self.back.borrow_and_update().passage];
            if passages.contains(&Passage::Refused) || self.resets() != before || !self.changed().await {
                return;
            }
        }
    }

    /// False if the links are gone.
    async fn changed(&mut self) -> bool {
        tokio::select! {
            biased;
            changed = self.out.changed() => changed.is_ok(),
            changed = self.back.changed() => changed.is_ok(),
        }
    }
}

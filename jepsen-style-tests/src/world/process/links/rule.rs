//! What happens to the bytes that go from one end of a link to the other.

use std::time::Duration;

/// How long TCP waits at least before it sends again what was lost.
const RETRANSMISSION: Duration = Duration::from_millis(200);

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Passage {
    #[default]
    Open,
    /// Nothing arrives, and connections stay: what was sent waits, and goes on when the link is open again.
    Held,
    /// Connections are reset, and so is every new one.
    Refused,
}

/// One direction of a link. The default is a good one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rule {
    pub passage: Passage,
    pub delay: Duration,
    /// At most this much is added to the delay, by chance. Bytes do not overtake one another.
    pub jitter: Duration,
    pub bytes_per_s: Option<u32>,
    /// Of a thousand pieces, so many are lost at first and arrive with TCP's next attempt.
    pub stumbles_per_mille: u32,
    /// Grows by one whenever all connections are to be reset.
    pub(super) resets: u64,
}

impl Rule {
    #[must_use]
    pub fn held() -> Self {
        Self { passage: Passage::Held, ..Self::default() }
    }

    #[must_use]
    pub fn refused() -> Self {
        Self { passage: Passage::Refused, ..Self::default() }
    }

    #[must_use]
    pub fn delayed(delay: Duration, jitter: Duration) -> Self {
        Self { delay, jitter, ..Self::default() }
    }

    /// And loses so many of a thousand pieces at first.
    #[must_use]
    pub fn losing(self, stumbles_per_mille: u32) -> Self {
        Self { stumbles_per_mille, ..self }
    }

    #[must_use]
    pub fn lossy(stumbles_per_mille: u32) -> Self {
        Self::default().losing(stumbles_per_mille)
    }

    /// Whether bytes may be passed on the moment they come.
    pub(super) fn is_plain(&self) -> bool {
        *self == Self { resets: self.resets, ..Self::default() }
    }

    /// How long a piece of that many bytes takes, by the dice.
    pub(super) fn takes(&self, bytes: usize, dice: &mut Dice) -> Duration {
        let mut takes = self.delay;
        if !self.jitter.is_zero() {
            takes += self.jitter.mul_f64(dice.fraction());
        }
        // Each attempt may be lost too; TCP doubles its patience every time.
        let mut patience = RETRANSMISSION;
        while patience < RETRANSMISSION * 16 && dice.fraction() * 1000.0 < f64::from(self.stumbles_per_mille) {
            takes += patience;
            patience *= 2;
        }
        if let Some(bytes_per_s) = self.bytes_per_s {
            takes += Duration::from_secs(bytes as u64) / bytes_per_s.max(1);
        }
        takes
    }
}

/// Chance from a seed (Guy Steele and others, "Fast splittable pseudorandom number generators", 2014).
#[derive(Clone, Debug)]
pub(super) struct Dice {
    state: u64,
}

impl Dice {
    pub(super) fn new(seed: u64) -> Self {
        Self { state: seed }
    }

    /// From 0 to just below 1.
    fn fraction(&mut self) -> f64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        (mix(self.state) >> 11) as f64 / (1u64 << 53) as f64
    }
}

pub(super) fn mix(mut z: u64) -> u64 {
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sum(rule: Rule, pieces: usize) -> Duration {
        let mut dice = Dice::new(7);
        (0..pieces).map(|_| rule.takes(1000, &mut dice)).sum()
    }

    #[test]
    fn a_piece_takes_what_the_rule_says() {
        assert!(Rule::default().is_plain() && sum(Rule::default(), 10).is_zero());
        assert!(!Rule::held().is_plain() && !Rule::lossy(1).is_plain());
        let ms = Duration::from_millis;
        assert_eq!(sum(Rule { bytes_per_s: Some(10_000), ..Rule::default() }, 10), ms(1000));
        let jittered = sum(Rule::delayed(ms(10), ms(10)), 1000);
        assert!(jittered > ms(14_000) && jittered < ms(16_000), "{jittered:?}");
        // A tenth of 1000 pieces waits 200 ms, a tenth of those 400 ms more, and so on: about 24 s.
        let lossy = sum(Rule::lossy(100), 1000);
        assert!(lossy > ms(15_000) && lossy < ms(35_000), "{lossy:?}");
    }
}

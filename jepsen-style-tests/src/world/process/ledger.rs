//! What the writers were told, and whether the cluster kept it.

use std::collections::{BTreeMap, BTreeSet};

use holdfast_client::Client;
use holdfast_client::proto::mvccpb::KeyValue;

use super::wait::{PATIENCE, until};

const PAGE_KEYS: i64 = 500;
/// Acknowledged writes that are looked up at their own revision.
const HISTORY_SAMPLES: usize = 200;
const VIOLATIONS_SHOWN: usize = 10;

/// A write that was acknowledged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Write {
    /// Its value, without the filling: counted from 1 for each key, not every number is used.
    pub number: u64,
    /// As the answer said.
    pub revision: i64,
}

/// All that one key's only writer knows.
#[derive(Clone, Debug, Default)]
pub struct KeyStory {
    pub key: String,
    pub acked: Vec<Write>,
    /// The last write, if nobody knows whether it was executed.
    pub unknown: Option<u64>,
}

/// All that the writers know.
#[derive(Clone, Debug, Default)]
pub struct Ledger {
    pub keys: Vec<KeyStory>,
    /// Writes that were refused, or certainly never executed.
    pub failed: u64,
}

/// What the check of a ledger counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Findings {
    pub acknowledged: usize,
    pub failed: u64,
    pub unknown: usize,
    /// Of those unknown.
    pub executed_after_all: usize,
    pub keys: usize,
}

impl std::fmt::Display for Findings {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { acknowledged, failed, unknown, executed_after_all, keys } = self;
        write!(
            f,
            "{acknowledged} writes acknowledged on {keys} keys, all there, each executed once; {failed} failed, none \
             there; {unknown} of unknown fate, {executed_after_all} of them executed"
        )
    }
}

impl Ledger {
    pub fn absorb(&mut self, other: Self) {
        self.keys.extend(other.keys);
        self.failed += other.failed;
    }

    /// Compares with what is stored under `prefix`, and with the history: no acknowledged write is lost, none was
    /// executed twice, none of the failed ones was executed, and every answer named the right revision.
    ///
    /// # Panics
    /// With the first violations.
    pub async fn check(&self, client: &Client, prefix: &str) -> Findings {
        let mut stored = read_all(client, prefix).await;
        let mut findings = Findings { failed: self.failed, keys: self.keys.len(), ..Findings::default() };
        let mut violations = Vec::new();
        let mut revisions = BTreeSet::new();
        for story in &self.keys {
            findings.acknowledged += story.acked.len();
            findings.unknown += usize::from(story.unknown.is_some());
            match judge(story, stored.remove(story.key.as_bytes()).as_ref()) {
                Ok(Unknown::Executed) => findings.executed_after_all += 1,
                Ok(Unknown::NotThere) => {}
                Err(violation) => violations.push(violation),
            }
            for write in &story.acked {
                if !revisions.insert(write.revision) {
                    violations.push(format!("two writes were acknowledged with revision {}", write.revision));
                }
            }
        }
        violations.extend(stored.keys().map(|key| format!("{} is there, and nobody wrote it", show(key))));
        violations.extend(self.check_history(client).await);
        if !violations.is_empty() {
            let shown = violations.len().min(VIOLATIONS_SHOWN);
            panic!("{} violations, such as:\n{}", violations.len(), violations[..shown].join("\n"));
        }
        findings
    }

    /// Looks up some of the acknowledged writes at their revisions: those that were overwritten count too.
    async fn check_history(&self, client: &Client) -> Vec<String> {
        let all = self.keys.iter().flat_map(|story| story.acked.iter().map(move |write| (&story.key, write)));
        let all: Vec<_> = all.collect();
        let step = (all.len() / HISTORY_SAMPLES).max(1);
        let mut violations = Vec::new();
        for (key, write) in all.into_iter().step_by(step) {
            let answer = client.get(key.as_str()).revision(write.revision).await;
            let found = answer.map(|answer| answer.kvs.first().map(|kv| (number_of(kv), kv.mod_revision)));
            match found {
                Ok(Some(found)) if found == (write.number, write.revision) => {}
                found => violations.push(format!("{key} at revision {}: {found:?}, not {write:?}", write.revision)),
            }
        }
        violations
    }
}

/// What became of the write that nobody knew about.
enum Unknown {
    Executed,
    /// Or there was none.
    NotThere,
}

fn judge(story: &KeyStory, stored: Option<&KeyValue>) -> Result<Unknown, String> {
    let key = &story.key;
    let Some(stored) = stored else {
        let last = story.acked.last();
        return last.map_or(Ok(Unknown::NotThere), |last| Err(format!("{key} is not there; acknowledged: {last:?}")));
    };
    let (number, version) = (number_of(stored), usize::try_from(stored.version).unwrap_or(0));
    let told = format!("{key} holds {number} (version {version}, revision {})", stored.mod_revision);
    let is_unknown = story.unknown == Some(number);
    let expected = story.acked.len() + usize::from(is_unknown);
    match story.acked.last() {
        _ if version != expected => Err(format!("{told}; {expected} writes make version {expected}")),
        _ if is_unknown => Ok(Unknown::Executed),
        Some(last) if (last.number, last.revision) == (number, stored.mod_revision) => Ok(Unknown::NotThere),
        last => Err(format!("{told}; acknowledged last: {last:?}")),
    }
}

/// The number in a value; 0 for a value that no writer wrote.
fn number_of(kv: &KeyValue) -> u64 {
    std::str::from_utf8(&kv.value).ok().and_then(|text| text.trim_end().parse().ok()).unwrap_or(0)
}

fn show(key: &[u8]) -> String {
    String::from_utf8_lossy(key).into_owned()
}

/// Reads a prefix page by page, all at one revision.
async fn read_all(client: &Client, prefix: &str) -> BTreeMap<Vec<u8>, KeyValue> {
    let mut all = BTreeMap::new();
    let end = holdfast_client::prefix_end(prefix.as_bytes());
    let mut from = prefix.as_bytes().to_vec();
    let mut revision = 0;
    loop {
        let page = until(PATIENCE, "page of the keys that were written", || async {
            let get = client.get(from.clone()).range(end.to_vec()).limit(PAGE_KEYS).revision(revision);
            get.await.map_err(|error| error.to_string())
        })
        .await;
        if revision == 0 {
            revision = page.header.unwrap_or_default().revision;
        }
        let Some(last) = page.kvs.last() else { return all };
        // The next key after the last one.
        from = [last.key.as_ref(), b"\0"].concat();
        all.extend(page.kvs.into_iter().map(|kv| (kv.key.to_vec(), kv)));
        if !page.more {
            return all;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn story(acked: &[u64], unknown: Option<u64>) -> KeyStory {
        let acked = acked.iter().map(|number| Write { number: *number, revision: 100 + *number as i64 });
        KeyStory { key: "k".to_owned(), acked: acked.collect(), unknown }
    }

    fn stored(number: u64, version: i64) -> KeyValue {
        let mod_revision = 100 + number as i64;
        KeyValue { value: format!("{number:<10}").into(), version, mod_revision, ..KeyValue::default() }
    }

    #[test]
    fn a_kept_promise_passes() {
        assert!(judge(&story(&[], None), None).is_ok());
        assert!(judge(&story(&[], Some(1)), None).is_ok());
        assert!(judge(&story(&[1, 3], None), Some(&stored(3, 2))).is_ok());
        assert!(matches!(judge(&story(&[1, 3], Some(4)), Some(&stored(4, 3))), Ok(Unknown::Executed)));
        assert!(matches!(judge(&story(&[1, 3], Some(4)), Some(&stored(3, 2))), Ok(Unknown::NotThere)));
    }

    #[test]
    fn a_broken_promise_is_found() {
        assert!(judge(&story(&[1], None), None).is_err(), "lost");
        assert!(judge(&story(&[1, 2], None), Some(&stored(1, 1))).is_err(), "the last one lost");
        assert!(judge(&story(&[1, 2, 3], None), Some(&stored(3, 2))).is_err(), "one in the middle lost");
        assert!(judge(&story(&[1, 2], None), Some(&stored(2, 3))).is_err(), "executed twice");
        assert!(judge(&story(&[1], Some(2)), Some(&stored(2, 3))).is_err(), "the unknown one executed twice");
        assert!(judge(&story(&[1, 3], None), Some(&stored(2, 3))).is_err(), "a failed one executed");
        let moved = KeyValue { mod_revision: 7, ..stored(2, 2) };
        assert!(judge(&story(&[1, 2], None), Some(&moved)).is_err(), "the answer named another revision");
    }
}

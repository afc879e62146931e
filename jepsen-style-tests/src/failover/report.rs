//! The table of a record, as a section of a document.

use std::fmt::Write as _;

use super::event::Event;
use super::record::{Record, Summary};
use super::stream::HANGS;

/// The whole section. Fields of the record are numbers and names of this program's own: nothing needs escaping.
pub(super) fn render(record: &Record) -> String {
    let mut text = String::new();
    for line in &record.circumstances {
        push(&mut text, &format!("- {line}"));
    }
    let all = record.rounds.values().flatten().flatten();
    let loads: Vec<f64> = all.map(|round| round.load).collect();
    let (least, most) = loads.iter().fold((f64::MAX, 0f64), |(least, most), load| (least.min(*load), most.max(*load)));
    if !loads.is_empty() {
        push(&mut text, &format!("- load average of the machine during the rounds: {least:.1} to {most:.1}"));
    }
    let (every, fault) = (record.every_ms, record.fault_ms);
    push(&mut text, &format!("- a write every {every} ms; pauses, cuts and hung disks last {fault} ms"));
    let hangs = HANGS.as_secs_f64();
    push(&mut text, "");
    push(
        &mut text,
        &format!(
            "| the leader | server | rounds | outage p50 ms | p99 ms | max ms | target p99 ms | requests | refused | \
             fate unknown | over {hangs} s | slowest ms | succeeded |"
        ),
    );
    push(&mut text, "|---|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|");
    for event in Event::ALL {
        for (index, contender) in record.contenders.iter().enumerate() {
            if let Some(summary) = Summary::of(record.of(event, index)) {
                let target = if contender.is_etcd { String::new() } else { event.p99_target().as_millis().to_string() };
                push(&mut text, &row(event, &contender.label, &target, &summary));
            }
        }
    }
    text
}

fn push(text: &mut String, line: &str) {
    // Writing to a String cannot fail.
    let _written = writeln!(text, "{line}");
}

fn row(event: Event, label: &str, target: &str, summary: &Summary) -> String {
    let Summary { rounds, p50_ms, p99_ms, max_ms, requests, failed, unknown, hung, slowest_ms } = *summary;
    let success = summary.success_percent();
    format!(
        "| {} | {label} | {rounds} | {p50_ms:.0} | {p99_ms:.0} | {max_ms:.0} | {target} | {requests} | {failed} | \
         {unknown} | {hung} | {slowest_ms} | {success:.2} % |",
        event.title()
    )
}

#[cfg(test)]
mod tests {
    use super::super::record::{Contender, Round};
    use super::*;

    #[test]
    fn a_row_for_each_event_and_server_that_was_measured() {
        let mut record = Record {
            contenders: ["ours", "theirs"]
                .map(|label| Contender { label: label.to_owned(), is_etcd: label == "theirs" })
                .to_vec(),
            every_ms: 5,
            fault_ms: 3000,
            rounds: std::collections::BTreeMap::new(),
            circumstances: vec!["somewhere".to_owned()],
        };
        let round = Round { outage_us: 612_000, acknowledged: 999, unknown: 1, slowest_ms: 700, ..Round::default() };
        record.push(Event::Kill, 0, round.clone());
        record.push(Event::Stop, 1, round);
        let text = render(&record);
        let rows: Vec<&str> = text.lines().filter(|line| line.contains("612")).collect();
        assert_eq!(
            rows,
            [
                "| killed with -9 | ours | 1 | 612 | 612 | 612 | 1500 | 1000 | 0 | 1 | 0 | 700 | 99.90 % |",
                "| stopped in order | theirs | 1 | 612 | 612 | 612 |  | 1000 | 0 | 1 | 0 | 700 | 99.90 % |",
            ]
        );
    }
}

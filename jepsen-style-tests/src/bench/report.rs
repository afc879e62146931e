//! From runs to tables: medians over the rounds, and ratios of two neighbours in one round.
//!
//! A ratio is ours divided by etcd's of the same round, and what is printed is the median of these: what drifts slowly
//! drops out. For rates more is better; for latencies and CPU less is.

use std::fmt::Write;

use crate::bench::args::{Cell, Workload};
use crate::bench::campaign::{Record, Run, Target};
use crate::bench::contender::Kind;

/// Markdown, aligned so that it also reads as text.
pub fn render(record: &Record) -> String {
    let mut text = heading(record);
    let mut workloads: Vec<_> = record.plan.cells.iter().map(|cell| cell.workload).collect();
    workloads.dedup();
    for workload in workloads {
        let cells: Vec<_> = record.plan.cells.iter().filter(|cell| cell.workload == workload).collect();
        section(&mut text, record, workload, &cells);
    }
    errors(&mut text, record);
    text
}

fn heading(record: &Record) -> String {
    let machine = &record.machine;
    let milliseconds = |micros: u32| f64::from(micros) / 1e3;
    let labels: Vec<_> = record.contenders.iter().map(|contender| contender.label.as_str()).collect();
    let commit = if machine.commit.is_empty() { "unknown" } else { &machine.commit };
    let idle = record.runs.iter().map(|run| run.around.idle_servers).fold(0.0, f64::max);
    let elsewhere = median(record.runs.iter().map(|run| run.around.elsewhere).collect());
    let target = match record.target {
        Target::Spread => "dealt round the members, the leader first",
        Target::Leader => "all to the leader",
    };
    let lines = [
        format!("`{}`", record.command),
        String::new(),
        format!("- {}, commit {commit}; {}", machine.date, labels.join(", ")),
        format!(
            "- {} cores of {}, {:.0} GiB, Linux {}, {}; one 4 KiB write and its sync on the idle disk: p50 {:.2} ms, \
             p99 {:.2} ms",
            machine.cores,
            machine.processor,
            machine.memory_bytes as f64 / f64::from(1 << 30),
            machine.kernel,
            machine.file_system,
            milliseconds(machine.sync.p50_us),
            milliseconds(machine.sync.p99_us),
        ),
        format!(
            "- {} rounds of {} s after {} s of warm-up; {} keys; at most {} connections, {target}",
            record.plan.rounds,
            record.plan.window.as_secs(),
            record.plan.warm_up.as_secs(),
            record.keys,
            record.connections_max,
        ),
        format!(
            "- shares of one core taken by others: at most {:.1} % by the servers whose turn it was not; {:.0} % \
             (median) by all else on the machine, interrupts included",
            idle * 100.0,
            elsewhere * 100.0,
        ),
        "- medians of the rounds; a ratio is ours divided by etcd's of the same round; *ceiling* is the rate of a \
         server that stores nothing; CPU is that of all members together, and of the generator"
            .to_owned(),
    ];
    lines.join("\n") + "\n"
}

fn section(text: &mut String, record: &Record, workload: Workload, cells: &[&Cell]) {
    let kinds: Vec<_> = record.contenders.iter().map(|contender| contender.kind).collect();
    let mut summary = Table::new(summary_columns(&kinds));
    let mut details = Table::new(
        ["value", "clients", "server", "op/s by round", "max ms", "server CPU µs/op", "generator CPU µs/op"]
            .into_iter()
            .chain(["server RSS MiB", "errors", "leader changes"])
            .map(str::to_owned)
            .collect(),
    );
    for cell in cells {
        summary.rows.push(summary_row(record, &kinds, cell));
        details.rows.extend(kinds.iter().map(|kind| details_row(record, *kind, cell)));
    }
    // Writing to a string cannot fail.
    let _ = write!(text, "\n### {workload}\n\n{}\n{}", summary.render(), details.render());
}

/// Rounds of one contender in one cell.
struct Rounds<'a>(Vec<&'a Run>);

impl<'a> Rounds<'a> {
    fn of(record: &'a Record, kind: Kind, cell: &Cell) -> Self {
        Self(record.runs.iter().filter(|run| run.kind == kind && run.cell == *cell).collect())
    }

    fn median(&self, what: fn(&Run) -> f64) -> f64 {
        median(self.0.iter().map(|run| what(run)).collect())
    }

    fn ratios(&self, others: &Self, what: fn(&Run) -> f64) -> Vec<f64> {
        let same_round = |run: &Run| others.0.iter().find(|other| other.round == run.round).map(|other| what(other));
        let pairs = self.0.iter().filter_map(|run| Some(what(run) / same_round(run)?));
        pairs.filter(|ratio| ratio.is_finite()).collect()
    }
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    match values.len() {
        0 => f64::NAN,
        n if n % 2 == 1 => values[n / 2],
        n => f64::midpoint(values[n / 2 - 1], values[n / 2]),
    }
}

/// One measure of the summary: its name, how to get it, how many decimals to show.
struct Measure {
    name: &'static str,
    of: fn(&Run) -> f64,
    decimals: usize,
    /// Whether the spread of the ratio is shown with it.
    spread: Spread,
}

#[derive(PartialEq)]
enum Spread {
    Shown,
    Hidden,
}

const MEASURES: [Measure; 4] = [
    Measure { name: "op/s", of: |run| run.measured.rate(), decimals: 0, spread: Spread::Shown },
    Measure { name: "p50 ms", of: |run| ms(run.measured.latency.p50_us), decimals: 2, spread: Spread::Hidden },
    Measure { name: "p99 ms", of: |run| ms(run.measured.latency.p99_us), decimals: 2, spread: Spread::Shown },
    Measure { name: "CPU µs/op", of: |run| run.measured.server_cpu_us(), decimals: 0, spread: Spread::Hidden },
];

fn ms(micros: u32) -> f64 {
    f64::from(micros) / 1e3
}

/// Those who store something; the other one is the ceiling.
fn stores(kinds: &[Kind]) -> impl Iterator<Item = Kind> {
    kinds.iter().copied().filter(|kind| *kind != Kind::Null)
}

fn has_pair(kinds: &[Kind]) -> bool {
    kinds.contains(&Kind::Holdfast) && kinds.contains(&Kind::Etcd)
}

fn summary_columns(kinds: &[Kind]) -> Vec<String> {
    let mut columns = vec!["value".to_owned(), "clients".to_owned()];
    for measure in &MEASURES {
        columns.extend(stores(kinds).map(|kind| format!("{kind} {}", measure.name)));
        if has_pair(kinds) {
            columns.push("ratio".to_owned());
        }
    }
    if kinds.contains(&Kind::Null) {
        columns.push("ceiling op/s".to_owned());
    }
    columns
}

fn summary_row(record: &Record, kinds: &[Kind], cell: &Cell) -> Vec<String> {
    let rounds = |kind| Rounds::of(record, kind, cell);
    let mut row = vec![bytes(cell.value_bytes), cell.clients.to_string()];
    for measure in &MEASURES {
        row.extend(stores(kinds).map(|kind| number(rounds(kind).median(measure.of), measure.decimals)));
        if has_pair(kinds) {
            row.push(ratio(rounds(Kind::Holdfast).ratios(&rounds(Kind::Etcd), measure.of), &measure.spread));
        }
    }
    if kinds.contains(&Kind::Null) {
        row.push(number(rounds(Kind::Null).median(|run| run.measured.rate()), 0));
    }
    row
}

fn details_row(record: &Record, kind: Kind, cell: &Cell) -> Vec<String> {
    let rounds = Rounds::of(record, kind, cell);
    let label = record.contenders.iter().find(|contender| contender.kind == kind).map(|one| one.label.clone());
    let rates: Vec<_> = rounds.0.iter().map(|run| number(run.measured.rate(), 0)).collect();
    let longest = rounds.0.iter().map(|run| ms(run.measured.latency.max_us)).fold(0.0, f64::max);
    let errors: u64 = rounds.0.iter().map(|run| run.measured.error_count()).sum();
    let changes = rounds.0.iter().filter(|run| run.leader_changed).count();
    vec![
        bytes(cell.value_bytes),
        cell.clients.to_string(),
        label.unwrap_or_default(),
        rates.join(", "),
        number(longest, 1),
        number(rounds.median(|run| run.measured.server_cpu_us()), 0),
        number(rounds.median(|run| run.measured.generator_cpu_us()), 0),
        number(rounds.median(|run| run.measured.server_resident_bytes as f64 / f64::from(1 << 20)), 0),
        errors.to_string(),
        changes.to_string(),
    ]
}

fn errors(text: &mut String, record: &Record) {
    let mut table = Table::new(["run", "server", "error", "count", "for example"].map(str::to_owned).to_vec());
    for run in &record.runs {
        for (kind, errors) in &run.measured.errors {
            let name = format!("{}, round {}", run.cell, run.round + 1);
            let example = errors.example.replace(['|', '\n'], " ");
            table.rows.push(vec![name, run.kind.to_string(), kind.clone(), errors.count.to_string(), example]);
        }
    }
    if !table.rows.is_empty() {
        let _ = write!(text, "\n### Errors\n\n{}", table.render());
    }
}

fn bytes(count: u32) -> String {
    if count >= 1024 && count.is_multiple_of(1024) { format!("{} KiB", count / 1024) } else { format!("{count} B") }
}

fn number(value: f64, decimals: usize) -> String {
    if value.is_nan() { "-".to_owned() } else { format!("{value:.decimals$}") }
}

fn ratio(ratios: Vec<f64>, spread: &Spread) -> String {
    if ratios.is_empty() {
        return "-".to_owned();
    }
    let (least, most) = ratios.iter().fold((f64::MAX, 0.0_f64), |(least, most), one| (least.min(*one), most.max(*one)));
    let rounds = ratios.len();
    let middle = median(ratios);
    if *spread == Spread::Shown && rounds > 1 {
        format!("**{middle:.2}** ({least:.2} to {most:.2})")
    } else {
        format!("**{middle:.2}**")
    }
}

struct Table {
    columns: Vec<String>,
    rows: Vec<Vec<String>>,
}

impl Table {
    fn new(columns: Vec<String>) -> Self {
        Self { columns, rows: Vec::new() }
    }

    /// Right-aligned: most of it is numbers.
    fn render(&self) -> String {
        let width = |at: usize| {
            let cells = self.rows.iter().map(|row| row[at].chars().count());
            cells.chain([self.columns[at].chars().count()]).max().unwrap_or(0)
        };
        let widths: Vec<_> = (0..self.columns.len()).map(width).collect();
        let line = |cells: &[String]| {
            let padded: Vec<_> = cells.iter().zip(&widths).map(|(cell, width)| format!("{cell:>width$}")).collect();
            format!("| {} |\n", padded.join(" | "))
        };
        let rule: Vec<_> = widths.iter().map(|width| format!("{}:", "-".repeat(width.saturating_sub(1)))).collect();
        let rows: String = self.rows.iter().map(|row| line(row)).collect();
        format!("{}{}{rows}", line(&self.columns), line(&rule))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_middle_of_an_even_number_is_between_two() {
        assert_eq!(median(vec![3.0, 1.0, 2.0]), 2.0);
        assert_eq!(median(vec![4.0, 1.0, 2.0, 3.0]), 2.5);
        assert!(median(Vec::new()).is_nan());
    }

    #[test]
    fn a_ratio_shows_its_spread_when_there_is_one() {
        assert_eq!(ratio(vec![3.0, 1.0, 2.0], &Spread::Shown), "**2.00** (1.00 to 3.00)");
        assert_eq!(ratio(vec![3.0, 1.0, 2.0], &Spread::Hidden), "**2.00**");
        assert_eq!(ratio(vec![2.0], &Spread::Shown), "**2.00**");
        assert_eq!(ratio(Vec::new(), &Spread::Shown), "-");
    }

    /// The machine halves its speed in the second round: the ratio does not notice.
    #[test]
    fn ratios_are_made_within_a_round() {
        let cell = Cell { workload: Workload::Put, value_bytes: 256, clients: 64 };
        let run = |kind, round, operations| Run::for_test(kind, cell, round, operations);
        let runs =
            [run(Kind::Holdfast, 0, 200), run(Kind::Etcd, 0, 100), run(Kind::Etcd, 1, 50), run(Kind::Holdfast, 1, 100)];
        let of = |kind| Rounds(runs.iter().filter(|run| run.kind == kind).collect());
        let rates = of(Kind::Holdfast).ratios(&of(Kind::Etcd), |run| run.measured.rate());
        assert_eq!(rates, [2.0, 2.0]);
        assert_eq!(of(Kind::Holdfast).median(|run| run.measured.rate()), 150.0);
    }

    #[test]
    fn a_contender_alone_has_no_ratio() {
        assert_eq!(summary_columns(&[Kind::Holdfast]).iter().filter(|name| *name == "ratio").count(), 0);
        let all = summary_columns(&[Kind::Holdfast, Kind::Etcd, Kind::Null]);
        assert_eq!(all.iter().filter(|name| *name == "ratio").count(), MEASURES.len());
        assert_eq!(all.last().map(String::as_str), Some("ceiling op/s"));
    }

    #[test]
    fn columns_are_as_wide_as_what_is_in_them() {
        let mut table = Table::new(vec!["a".to_owned(), "µs".to_owned()]);
        table.rows.push(vec!["1234".to_owned(), "5".to_owned()]);
        assert_eq!(table.render(), "|    a | µs |\n| ---: | -: |\n| 1234 |  5 |\n");
    }
}

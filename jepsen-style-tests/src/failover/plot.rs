//! The outages drawn: for each event the share of rounds whose outage was at most so long, one line a server.

use std::fmt::Write as _;

use super::event::Event;
use super::record::{Record, sorted_ms};

const COLUMNS: usize = 2;
const PANEL_WIDTH: f64 = 420.0;
const PANEL_HEIGHT: f64 = 240.0;
/// Around the curves of a panel: title above, scale below, shares on the left.
const LEFT: f64 = 52.0;
const RIGHT: f64 = 16.0;
const TOP: f64 = 34.0;
const BOTTOM: f64 = 38.0;
const LEGEND_HEIGHT: f64 = 34.0;
/// Told apart by people who see no red or no green (Okabe and Ito's palette).
const COLOURS: [&str; 4] = ["#0072b2", "#d55e00", "#009e73", "#cc79a7"];
const TARGET_COLOUR: &str = "#888888";
const STEPS_MS: [f64; 9] = [10.0, 20.0, 50.0, 100.0, 200.0, 500.0, 1000.0, 2000.0, 5000.0];

pub(super) fn svg(record: &Record) -> String {
    let events: Vec<Event> = Event::ALL
        .into_iter()
        .filter(|event| record.rounds.get(event).is_some_and(|sides| !sides.is_empty()))
        .collect();
    let lines = events.len().div_ceil(COLUMNS).max(1);
    let (width, height) = (PANEL_WIDTH * COLUMNS as f64, LEGEND_HEIGHT + PANEL_HEIGHT * lines as f64);
    let mut out = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width}\" height=\"{height}\" \
         viewBox=\"0 0 {width} {height}\" font-family=\"sans-serif\" \
         font-size=\"11\">\n<rect width=\"100%\" height=\"100%\" fill=\"#ffffff\"/>\n"
    );
    legend(&mut out, record);
    for (number, event) in events.into_iter().enumerate() {
        let (x, y) =
            ((number % COLUMNS) as f64 * PANEL_WIDTH, LEGEND_HEIGHT + (number / COLUMNS) as f64 * PANEL_HEIGHT);
        put(&mut out, &format!("<g transform=\"translate({x},{y})\">"));
        panel(&mut out, record, event);
        put(&mut out, "</g>");
    }
    put(&mut out, "</svg>");
    out
}

fn put(out: &mut String, line: &str) {
    // Writing to a String cannot fail.
    let _written = writeln!(out, "{line}");
}

fn colour(contender: usize) -> &'static str {
    COLOURS[contender % COLOURS.len()]
}

fn legend(out: &mut String, record: &Record) {
    let mut x = LEFT;
    let names = record.contenders.iter().enumerate().map(|(index, side)| (side.label.as_str(), colour(index), ""));
    let target = ("target: p99 of Holdfast", TARGET_COLOUR, " stroke-dasharray=\"4 3\"");
    for (name, colour, dashes) in names.chain([target]) {
        let end = x + 24.0;
        put(out, &format!("<path d=\"M{x} 18H{end}\" stroke=\"{colour}\" stroke-width=\"2\"{dashes}/>"));
        put(out, &format!("<text x=\"{}\" y=\"22\">{name}</text>", end + 6.0));
        x = end + 6.0 + 7.0 * name.len() as f64 + 18.0;
    }
}

/// The scale is logarithmic: an orderly stop and a kill differ by two orders of magnitude.
struct Scale {
    least: f64,
    most: f64,
}

impl Scale {
    fn of(outages: &[Vec<f64>], target: f64) -> Self {
        let all = || outages.iter().flatten().copied().filter(|ms| *ms > 0.0).chain([target]);
        Self { least: all().fold(f64::MAX, f64::min) / 1.2, most: all().fold(0.0, f64::max) * 1.2 }
    }

    fn x(&self, ms: f64) -> f64 {
        let share = (ms.max(self.least) / self.least).ln() / (self.most / self.least).ln();
        LEFT + share * (PANEL_WIDTH - LEFT - RIGHT)
    }
}

fn y(share: f64) -> f64 {
    TOP + (1.0 - share) * (PANEL_HEIGHT - TOP - BOTTOM)
}

fn panel(out: &mut String, record: &Record, event: Event) {
    let outages: Vec<Vec<f64>> = (0..record.contenders.len()).map(|index| sorted_ms(record.of(event, index))).collect();
    let target = event.p99_target().as_secs_f64() * 1000.0;
    let scale = Scale::of(&outages, target);
    let (right, bottom) = (PANEL_WIDTH - RIGHT, y(0.0));
    put(out, &format!("<text x=\"{LEFT}\" y=\"20\" font-size=\"13\">The leader: {}</text>", event.title()));
    for share in [0.0, 0.5, 0.99] {
        let at = y(share);
        put(out, &format!("<path d=\"M{LEFT} {at:.1}H{right}\" stroke=\"#dddddd\"/>"));
        put(
            out,
            &format!("<text x=\"{}\" y=\"{:.1}\" text-anchor=\"end\">{} %</text>", LEFT - 6.0, at + 4.0, share * 100.0),
        );
    }
    for step in STEPS_MS.into_iter().filter(|step| (scale.least..=scale.most).contains(step)) {
        let at = scale.x(step);
        put(out, &format!("<path d=\"M{at:.1} {bottom:.1}v4\" stroke=\"#555555\"/>"));
        put(out, &format!("<text x=\"{at:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{step}</text>", bottom + 16.0));
    }
    let middle = (LEFT + right) / 2.0;
    put(
        out,
        &format!("<text x=\"{middle}\" y=\"{:.1}\" text-anchor=\"middle\">ms without a write</text>", bottom + 30.0),
    );
    let at = scale.x(target);
    put(out, &format!("<path d=\"M{at:.1} {TOP}V{bottom:.1}\" stroke=\"{TARGET_COLOUR}\" stroke-dasharray=\"4 3\"/>"));
    for (index, outages) in outages.iter().enumerate().filter(|(_, outages)| !outages.is_empty()) {
        put(out, &curve(outages, &scale, colour(index)));
    }
}

/// Steps: the share goes up by one round at each outage.
fn curve(outages: &[f64], scale: &Scale, colour: &str) -> String {
    let mut path = format!("M{:.1} {:.1}", scale.x(outages[0]), y(0.0));
    for (number, ms) in outages.iter().enumerate() {
        let share = (number + 1) as f64 / outages.len() as f64;
        let _written = write!(path, "H{:.1}V{:.1}", scale.x(*ms), y(share));
    }
    format!("<path d=\"{path}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"1.6\"/>")
}

#[cfg(test)]
mod tests {
    use super::super::record::{Contender, Round};
    use super::*;

    #[test]
    fn a_curve_for_each_server_and_a_panel_for_each_event() {
        let mut record = Record {
            contenders: ["a", "b"].map(|label| Contender { label: label.to_owned(), is_etcd: false }).to_vec(),
            every_ms: 5,
            fault_ms: 3000,
            rounds: std::collections::BTreeMap::new(),
            circumstances: Vec::new(),
        };
        for (side, outage_us) in [(0, 500_000), (0, 700_000), (1, 1_500_000)] {
            record.push(Event::Kill, side, Round { outage_us, ..Round::default() });
        }
        record.push(Event::Stop, 0, Round { outage_us: 20_000, ..Round::default() });
        let drawn = svg(&record);
        assert_eq!(drawn.matches("<g ").count(), 2);
        assert_eq!(drawn.matches("fill=\"none\"").count(), 3);
        // Two rounds: up by half twice, and later means further right.
        let first = drawn.lines().find(|line| line.contains("fill=\"none\"")).expect("a curve");
        let stops: Vec<f64> =
            first.split('H').skip(1).filter_map(|part| part.split('V').next()?.parse().ok()).collect();
        assert!(stops.len() == 2 && stops[0] < stops[1], "{first}");
        assert!(!drawn.contains("NaN"), "{drawn}");
    }
}

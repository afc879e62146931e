//! A history drawn: a row for each process, a bar from each call to its return, as Jepsen's and Porcupine's timelines.
//!
//! What could be put into an order carries its number there; the operation that could not is red.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use super::{Fate, Operation, Process};
use crate::checker::linearizable::{Explanation, Verdict};

const ROW_PX: usize = 26;
const BAR_PX: usize = 18;
const STEP_PX: usize = 26;
const LEFT_PX: usize = 110;
const TOP_PX: usize = 70;
/// A bar shorter than its words is widened no further than this many characters; the tooltip has the rest.
const LABEL_CHARS_MAX: usize = 28;

/// An SVG image, with the operation as a tooltip on each bar.
pub fn svg<A: std::fmt::Display>(name: &str, operations: &[Operation<A>], verdict: &Verdict) -> String {
    let explanation = if let Verdict::NotLinearizable(explanation) = verdict { Some(&**explanation) } else { None };
    let rows = rows(operations);
    let places =
        2 + operations.iter().map(|operation| operation.returned.unwrap_or(operation.called)).max().unwrap_or(0);
    let (width, height) = (LEFT_PX + (places + 1) * STEP_PX, TOP_PX + rows.len() * ROW_PX + 20);
    let mut out = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width}\" height=\"{height}\" \
         viewBox=\"0 0 {width} {height}\" font-family=\"sans-serif\" font-size=\"11\">\n\
         <rect width=\"100%\" height=\"100%\" fill=\"#ffffff\"/>\n"
    );
    line(&mut out, 20, "14", &format!("{name}: {verdict}"));
    if let Some(explanation) = explanation {
        let ends: BTreeSet<&str> = explanation.partial.iter().map(|partial| &*partial.state).collect();
        let ends: Vec<&str> = ends.into_iter().collect();
        let stuck = &operations[explanation.stuck];
        let held = ends.join(", or ");
        let text = format!("{}, called in line {}, has no place: {held} was there", stuck.action, stuck.line);
        line(&mut out, 40, "12", &text);
    }
    line(&mut out, 58, "11", "green: ok   grey: failed   yellow: fate unknown   red: no order has a place for it");
    for (process, row) in &rows {
        let y = TOP_PX + row * ROW_PX;
        let _ = writeln!(out, "<text x=\"6\" y=\"{}\" fill=\"#333\">process {}</text>", y + 13, process.0);
        let _ = writeln!(
            out,
            "<line x1=\"{LEFT_PX}\" x2=\"{width}\" y1=\"{0}\" y2=\"{0}\" stroke=\"#eee\"/>",
            y + BAR_PX + 3
        );
    }
    let order = explanation.and_then(longest).unwrap_or_default();
    for (index, operation) in operations.iter().enumerate() {
        let stuck = explanation.is_some_and(|explanation| explanation.stuck == index);
        bar(&mut out, operation, rows[&operation.process], places, stuck, order.get(&index).copied());
    }
    out.push_str("</svg>\n");
    out
}

/// The same in a page that scrolls.
pub fn html<A: std::fmt::Display>(name: &str, operations: &[Operation<A>], verdict: &Verdict) -> String {
    let picture = svg(name, operations, verdict);
    let title = escaped(name);
    let head = format!("<!DOCTYPE html>\n<html><head><meta charset=\"utf-8\"><title>{title}</title></head>");
    format!("{head}<body>\n{picture}</body></html>\n")
}

fn rows<A>(operations: &[Operation<A>]) -> BTreeMap<Process, usize> {
    let processes: BTreeSet<Process> = operations.iter().map(|operation| operation.process).collect();
    processes.into_iter().enumerate().map(|(row, process)| (process, row)).collect()
}

/// Each operation's number in the longest order.
fn longest(explanation: &Explanation) -> Option<BTreeMap<usize, usize>> {
    let partial = explanation.partial.iter().max_by_key(|partial| partial.order.len())?;
    Some(partial.order.iter().enumerate().map(|(number, &index)| (index, number + 1)).collect())
}

fn line(out: &mut String, y: usize, size: &str, text: &str) {
    let _ = writeln!(out, "<text x=\"6\" y=\"{y}\" font-size=\"{size}\" fill=\"#111\">{}</text>", escaped(text));
}

fn bar<A: std::fmt::Display>(
    out: &mut String,
    operation: &Operation<A>,
    row: usize,
    places: usize,
    stuck: bool,
    number: Option<usize>,
) {
    // What may happen at any later time has a bar without an end.
    let end = if operation.fate == Fate::Unknown { places } else { operation.returned.unwrap_or(places) };
    let (x, y) = (LEFT_PX + operation.called * STEP_PX, TOP_PX + row * ROW_PX);
    let width = (end - operation.called) * STEP_PX - 2;
    let fill = match operation.fate {
        _ if stuck => "#ff6b6b",
        Fate::Ok => "#b7e4c7",
        Fate::Failed => "#dddddd",
        Fate::Unknown => "#ffe8a3",
    };
    let stroke = if stuck { "#b00000" } else { "#888888" };
    let number = number.map(|number| format!("{number}. ")).unwrap_or_default();
    let whole = format!("{number}{}", operation.action);
    let room = (width / 6).clamp(1, LABEL_CHARS_MAX);
    let label: String = whole.chars().take(room).collect();
    let fate = operation.fate;
    let tip = format!("process {}: {whole}, {fate:?}, line {}", operation.process.0, operation.line);
    let _ = writeln!(
        out,
        "<g><title>{}</title><rect x=\"{x}\" y=\"{y}\" width=\"{width}\" height=\"{BAR_PX}\" rx=\"3\" fill=\"{fill}\" \
         stroke=\"{stroke}\"/><text x=\"{}\" y=\"{}\">{}</text></g>",
        escaped(&tip),
        x + 3,
        y + 13,
        escaped(&label)
    );
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

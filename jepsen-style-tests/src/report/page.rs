//! A report as a text to read and as a page to look at.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::timeline::Line;
use super::{Hits, Report};
use crate::nemesis::Class;

const STYLE: &str = "body{font:13px sans-serif;margin:16px}h2{font-size:15px}table{border-collapse:collapse}\
    td,th{padding:1px 10px 1px 0;text-align:left;vertical-align:top}td.at{color:#777;text-align:right}\
    tr.nemesis{background:#fff0e0}tr.campaign{background:#e8f0ff}tr.violation{background:#ffc9c9;font-weight:bold}\
    tr.unknown{background:#fff7d6}tr.failed{color:#999}.right{color:#1b7f3b}.wrong{color:#b00000}\
    .picture{overflow-x:auto;border:1px solid #ccc;margin:8px 0}";

impl Report {
    /// Everything, for a reader: the verdict, how to see it again, what was struck, and the whole timeline.
    pub fn text(&self, again: &str) -> String {
        let mut text = format!("{self}\n\nplan: {}\nagain: {again}\n\nfaults struck (and passed over):\n", self.plan);
        for (class, hits) in &self.hits {
            let _cannot_fail = writeln!(text, "  {:<20} {:>4} {:>6}", class.name(), hits.struck, hits.passed_over);
        }
        text.push_str("\nseconds      who          what\n");
        text.push_str(&self.timeline.text());
        text
    }

    /// The same as a page, with the pictures of wrong histories.
    pub fn html(&self, again: &str) -> String {
        let title = escaped(&format!("{}, seed {}", self.workload, self.seed));
        let mut page = format!(
            "<!DOCTYPE html>\n<html><head><meta charset=\"utf-8\"><title>{title}</title><style>{STYLE}</style></head>\
             <body>\n<h1>{title}</h1>\n<p>{}</p>\n<p>again: <code>{}</code></p>\n",
            escaped(&self.plan),
            escaped(again)
        );
        if self.violations.is_empty() {
            let _cannot_fail = writeln!(page, "<h2 class=\"right\">right: {}</h2>", self.tally);
        }
        for violation in &self.violations {
            let _cannot_fail = writeln!(page, "<h2 class=\"wrong\">{}</h2>", escaped(&violation.to_string()));
            if let Some(picture) = &violation.picture {
                let _cannot_fail = writeln!(page, "<div class=\"picture\">{picture}</div>");
            }
        }
        hits(&mut page, &self.hits);
        page.push_str("<h2>Timeline</h2>\n<table>\n");
        for line in self.timeline.lines() {
            row(&mut page, &line);
        }
        page.push_str("</table>\n</body></html>\n");
        page
    }

    /// Writes both into the folder, which is made if it is not there, and names them.
    pub fn write_to(&self, folder: &Path, again: &str) -> io::Result<[PathBuf; 2]> {
        fs::create_dir_all(folder)?;
        let name = format!("{}-{}", self.workload, self.seed);
        let [text, page] = ["txt", "html"].map(|ending| folder.join(format!("{name}.{ending}")));
        fs::write(&text, self.text(again))?;
        fs::write(&page, self.html(again))?;
        Ok([text, page])
    }
}

impl Report {
    /// # Panics
    /// If a property was violated; then the report is in two files of that folder, which the message names.
    pub fn insist(&self, folder: &Path, again: &str) {
        if self.is_right() {
            return;
        }
        let files = match self.write_to(folder, again) {
            Ok([text, page]) => format!("the whole story: {} and {}", text.display(), page.display()),
            Err(error) => format!("the story could not be written to {}: {error}", folder.display()),
        };
        panic!("{self}\nagain: {again}\n{files}");
    }
}

fn hits(page: &mut String, hits: &BTreeMap<Class, Hits>) {
    page.push_str("<h2>Faults</h2>\n<table><tr><th>class</th><th>struck</th><th>passed over</th></tr>\n");
    for (class, Hits { struck, passed_over }) in hits {
        let _cannot_fail = writeln!(page, "<tr><td>{class}</td><td>{struck}</td><td>{passed_over}</td></tr>");
    }
    page.push_str("</table>\n");
}

fn row(page: &mut String, Line { at, who, what }: &Line) {
    let class = match who.as_str() {
        "nemesis" => "nemesis",
        "campaign" => "campaign",
        "VIOLATION" | "objection" => "violation",
        _ if what.contains("unknown: ") => "unknown",
        _ if what.contains("failed: ") => "failed",
        _ => "",
    };
    let (at, who, what) = (at.as_secs_f64(), escaped(who), escaped(what));
    let _cannot_fail =
        writeln!(page, "<tr class=\"{class}\"><td class=\"at\">{at:.6}</td><td>{who}</td><td>{what}</td></tr>");
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::history::Tally;
    use crate::report::{Timeline, Violation};

    fn report() -> Report {
        let timeline = Timeline::begin();
        timeline.say("nemesis", "begins: partition: n1 alone");
        timeline.say("register 3", "register/0/0 get <b> ...");
        let violation = Violation { picture: Some("<svg/>".to_owned()), ..Violation::of("linearizable", "1 < 2") };
        Report {
            seed: 7,
            workload: "register".to_owned(),
            plan: "three nodes".to_owned(),
            tally: Tally { ok: 5, failed: 1, unknown: 2 },
            hits: BTreeMap::from([(Class::Isolate, Hits { struck: 4, passed_over: 1 })]),
            notes: Vec::new(),
            violations: vec![violation],
            timeline,
        }
    }

    #[test]
    fn both_tell_what_happened_and_how_to_see_it_again() {
        let text = report().text("make sim SEED=7");
        for part in ["VIOLATED", "linearizable: 1 < 2", "again: make sim SEED=7", "isolate", "n1 alone", "get <b>"] {
            assert!(text.contains(part), "{part} is not in\n{text}");
        }
        let page = report().html("make sim SEED=7");
        for part in ["<svg/>", "linearizable: 1 &lt; 2", "<code>make sim SEED=7</code>", "get &lt;b&gt;", "n1 alone"] {
            assert!(page.contains(part), "{part} is not in\n{page}");
        }
    }

    #[test]
    fn files_are_named_after_the_run() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let files = report().write_to(&folder.path().join("new"), "again").expect("it can be written");
        let names = files.map(|file| file.file_name().expect("a file").to_string_lossy().into_owned());
        assert_eq!(names, ["register-7.txt", "register-7.html"]);
    }

    #[test]
    fn a_violation_is_insisted_on_and_a_right_run_is_not() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let right = Report { violations: Vec::new(), ..report() };
        right.insist(folder.path(), "again");
        let panic = std::panic::catch_unwind(|| report().insist(folder.path(), "make sim SEED=7"));
        let said = panic.expect_err("a violation was reported").downcast::<String>().expect("in words");
        assert!(said.contains("linearizable: 1 < 2") && said.contains("register-7.html"), "{said}");
    }
}

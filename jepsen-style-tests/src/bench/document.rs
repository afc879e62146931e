//! The results' place in `docs/BENCHMARKS.md`: the lines between two markers, and nothing else of the document.

use std::fs;
use std::path::{Path, PathBuf};

use crate::bench::error::BenchError;

pub struct Document {
    path: PathBuf,
    /// With the marker at its end.
    before: String,
    /// From the marker on.
    after: String,
}

/// Finds the section of that name, so that a wrong path is known before anything is measured.
pub fn open(path: &Path, section: &str) -> Result<Document, BenchError> {
    let (begin, end) = (format!("<!-- {section}:begin -->"), format!("<!-- {section}:end -->"));
    let text = fs::read_to_string(path).map_err(|source| BenchError::File { path: path.to_owned(), source })?;
    let Some((before, after)) = split(&text, &begin, &end) else {
        return Err(BenchError::NoSection { path: path.to_owned(), begin, end });
    };
    Ok(Document { path: path.to_owned(), before, after })
}

impl Document {
    pub fn write(self, section: &str) -> Result<(), BenchError> {
        let Self { path, before, after } = self;
        let text = format!("{before}\n\n{}\n\n{after}", section.trim());
        fs::write(&path, text).map_err(|source| BenchError::File { path, source })
    }
}

fn split(text: &str, begin: &str, end: &str) -> Option<(String, String)> {
    let begin = text.find(begin)? + begin.len();
    let end = begin + text[begin..].find(end)?;
    Some((text[..begin].to_owned(), text[end..].to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const BEGIN: &str = "<!-- bench:begin -->";
    const END: &str = "<!-- bench:end -->";

    #[test]
    fn only_the_section_changes() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("doc.md");
        fs::write(&path, format!("# A\n\n{BEGIN}\n\nold\n\n{END}\nrest\n")).expect("written");
        for _ in 0..2 {
            open(&path, "bench").expect("there is a section").write("| new |\n").expect("written");
        }
        assert_eq!(fs::read_to_string(&path).expect("read"), format!("# A\n\n{BEGIN}\n\n| new |\n\n{END}\nrest\n"));
    }

    #[test]
    fn a_document_without_the_section_is_refused() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("doc.md");
        fs::write(&path, format!("{END}\n{BEGIN}\n")).expect("written");
        assert!(matches!(open(&path, "bench"), Err(BenchError::NoSection { .. })));
    }
}

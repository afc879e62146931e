//! Answers of different servers are alike when they are the same text, but for what each server chooses for itself.

/// Replaces ids, terms and ports.
pub fn normal(text: &str) -> String {
    let mut text = text.to_owned();
    for (name, stands_for) in [("cluster_id", "C"), ("member_id", "M"), ("raft_term", "T")] {
        text = replace_digits(&text, &format!("\"{name}\":\""), stands_for);
    }
    text = replace_digits(&text, "http://127.0.0.1:", "P");
    // Ids that a server chose are long; those that clients choose in these tests are short.
    for name in ["ID", "lease", "leader", "memberID"] {
        text = replace_if(&text, &format!("\"{name}\":\""), "I", |digits| digits.len() > 9);
    }
    text
}

fn replace_digits(text: &str, after: &str, with: &str) -> String {
    replace_if(text, after, with, |digits| !digits.is_empty())
}

fn replace_if(text: &str, after: &str, with: &str, is_meant: impl Fn(&str) -> bool) -> String {
    let mut parts = text.split(after);
    let mut out = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let end = part.find(|letter: char| !letter.is_ascii_digit()).unwrap_or(part.len());
        let (digits, rest) = part.split_at(end);
        out.push_str(after);
        out.push_str(if is_meant(digits) { with } else { digits });
        out.push_str(rest);
    }
    out
}

/// Whether a text is as expected, where `<any>` stands for anything.
pub fn is_like(text: &str, expected: &str) -> bool {
    let mut parts = expected.split("<any>");
    let Some(mut rest) = text.strip_prefix(parts.next().unwrap_or_default()) else { return false };
    let parts: Vec<&str> = parts.collect();
    let Some((last, between)) = parts.split_last() else { return rest.is_empty() };
    for part in between {
        let Some((_, behind)) = rest.split_once(part) else { return false };
        rest = behind;
    }
    rest.ends_with(last)
}

#[test]
fn what_a_server_chooses_is_not_compared() {
    let header =
        r#"{"cluster_id":"12","member_id":"3","revision":"2","raft_term":"1"},"ID":"77","lease":"7668682366889361456""#;
    let expected = r#"{"cluster_id":"C","member_id":"M","revision":"2","raft_term":"T"},"ID":"77","lease":"I""#;
    assert_eq!(normal(header), expected);
    assert_eq!(normal("[\"http://127.0.0.1:2379\"]"), "[\"http://127.0.0.1:P\"]");
}

#[test]
fn any_stands_for_anything() {
    assert!(is_like("abc", "abc") && !is_like("abcd", "abc") && !is_like("ab", "abc"));
    assert!(is_like("a-x-b-y-c", "a<any>b<any>c") && is_like("abc", "a<any>c"));
    assert!(!is_like("abd", "a<any>c") && !is_like("xabc", "a<any>c"));
}

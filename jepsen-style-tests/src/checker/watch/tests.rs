//! A right session, and one wrong in each of the ways.

use super::*;

/// a=1 at 2; a=2 and b=3 at 3; a deleted at 4; a=5 at 5.
fn truth() -> Truth {
    let mut truth = Truth::default();
    truth.add(2, "a", Some(1));
    truth.add(3, "a", Some(2));
    truth.add(3, "b", Some(3));
    truth.add(4, "a", None);
    truth.add(5, "a", Some(5));
    truth
}

fn state(value: u64, version: i64, created: i64, modified: i64) -> State {
    State { value, version, created, modified }
}

fn event(revision: i64, key: &str) -> Event {
    let shown = truth().changes[&revision][key];
    Event { key: key.to_owned(), revision, state: shown.state, before: shown.before }
}

fn session(from: i64, messages: Vec<Message>) -> Session {
    let (filter, before) = (Filter::All, Before::Shown);
    Session { name: "w".to_owned(), prefix: String::new(), filter, before, from, messages }
}

fn events(of: &[(i64, &str)]) -> Message {
    Message::Events(of.iter().map(|(revision, key)| event(*revision, key)).collect())
}

fn found(session: Session) -> Vec<(Property, i64)> {
    let found = check(&truth(), &[session]);
    found.into_iter().map(|violation| (violation.property, violation.revision)).collect()
}

#[test]
fn a_faithful_session_is_right_wherever_it_begins_and_is_cut() {
    let all = [events(&[(2, "a")]), Message::Progress(2), events(&[(3, "a"), (3, "b"), (4, "a")]), events(&[(5, "a")])];
    assert_eq!(found(session(1, all.to_vec())), []);
    assert_eq!(found(session(1, all[..3].to_vec())), []);
    assert_eq!(found(session(4, vec![events(&[(4, "a"), (5, "a")]), Message::Progress(9)])), []);
    assert_eq!(session(1, all[..3].to_vec()).seen_up_to(), 4);
    assert_eq!(session(7, Vec::new()).seen_up_to(), 6);
    let only_b = Session { prefix: "b".to_owned(), ..session(1, vec![events(&[(3, "b")]), Message::Progress(5)]) };
    assert_eq!(found(only_b), []);
    let deletes = Session { filter: Filter::NoPuts, ..session(1, vec![events(&[(4, "a")])]) };
    assert_eq!(found(deletes), []);
}

#[test]
fn order_uniqueness_and_togetherness() {
    let order = session(2, vec![events(&[(2, "a"), (4, "a"), (3, "a"), (3, "b")])]);
    assert_eq!(found(order), [(Property::Ordered, 3), (Property::Ordered, 3)]);
    let twice = session(2, vec![events(&[(2, "a"), (2, "a")])]);
    assert_eq!(found(twice), [(Property::Unique, 2)]);
    let apart = session(3, vec![events(&[(3, "a")]), events(&[(3, "b")])]);
    assert_eq!(found(apart), [(Property::Together, 3)]);
}

#[test]
fn gaps() {
    assert_eq!(
        found(session(2, vec![events(&[(2, "a"), (4, "a")])])),
        [(Property::Reliable, 3), (Property::Reliable, 3)]
    );
    // The first revision of a watch that was taken up again is missing.
    assert_eq!(found(session(4, vec![events(&[(5, "a")])])), [(Property::Reliable, 4)]);
    assert_eq!(found(session(4, vec![events(&[(3, "a"), (3, "b"), (4, "a")])])).len(), 2);
    assert_eq!(found(session(5, vec![events(&[(4, "a"), (5, "a")])])), [(Property::Resumable, 4)]);
    let marked = session(4, vec![Message::Progress(4), events(&[(5, "a")])]);
    assert_eq!(found(marked), [(Property::Bookmarkable, 4)]);
    let late = session(4, vec![Message::Progress(4), events(&[(4, "a")])]);
    assert_eq!(found(late), [(Property::Bookmarkable, 4), (Property::Bookmarkable, 4)]);
}

#[test]
fn what_an_event_says() {
    let said = |change: &dyn Fn(&mut Event)| {
        let mut wrong = event(3, "a");
        change(&mut wrong);
        let others = Message::Events(vec![wrong, event(3, "b")]);
        found(session(3, vec![others]))
    };
    assert_eq!(said(&|event| event.before = None), [(Property::RightBefore, 3)]);
    assert_eq!(said(&|event| event.before = Some(state(9, 1, 2, 2))), [(Property::RightBefore, 3)]);
    assert_eq!(said(&|event| event.state = Some(state(2, 1, 3, 3))), [(Property::RightCreation, 3)]);
    assert_eq!(said(&|event| event.state = Some(state(9, 2, 2, 3))), [(Property::True, 3)]);
    assert_eq!(said(&|event| event.state = None), [(Property::True, 3)]);
    let unasked = Session { before: Before::NotShown, ..session(4, vec![events(&[(4, "a")])]) };
    assert_eq!(found(unasked), [(Property::RightBefore, 4)]);
    let filtered = Session { filter: Filter::NoDeletes, ..session(4, vec![events(&[(4, "a")])]) };
    assert_eq!(found(filtered), [(Property::RightFilter, 4)]);
    let outside = Session { prefix: "b".to_owned(), ..session(4, vec![events(&[(4, "a")])]) };
    assert_eq!(found(outside), [(Property::RightFilter, 4)]);
    let mut nowhere = event(4, "a");
    nowhere.revision = 6;
    assert_eq!(found(session(6, vec![Message::Events(vec![nowhere])])), [(Property::True, 6)]);
}

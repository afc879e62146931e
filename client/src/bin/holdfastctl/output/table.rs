//! Tables, drawn as etcdctl draws them: headings centred, cells to the right.

use holdfast_client::Update;
use holdfast_client::proto::etcdserverpb::{
    AlarmResponse, AlarmType, DeleteRangeResponse, LeaseGrantResponse, LeaseKeepAliveResponse, LeaseLeasesResponse,
    MemberListResponse, PutResponse, TxnResponse,
};
use holdfast_client::proto::v1::TopologyResponse;
use holdfast_client::proto::v1::topology_member::Role;

use super::simple::{member_cells, status_cells};
use super::{
    ByteStyle, EndpointHash, EndpointHealth, EndpointStatus, Listing, MemberAdded, MemberChanged, Revoked, TimeToLive,
};

/// An answer as tables, if it has any.
pub(crate) trait Tabular {
    fn table(&self, _: ByteStyle) -> Option<Vec<Table>> {
        None
    }
}

/// Cells under headings.
#[derive(Clone, Debug)]
pub(crate) struct Table {
    head: Vec<&'static str>,
    rows: Vec<Vec<String>>,
}

impl Table {
    fn new(head: &[&'static str], rows: impl IntoIterator<Item = Vec<String>>) -> Self {
        Self { head: head.to_vec(), rows: rows.into_iter().collect() }
    }

    pub(crate) fn text(&self) -> String {
        let width = |column: usize| {
            let cells = self.rows.iter().map(|row| row[column].chars().count());
            cells.chain([self.head[column].chars().count()]).max().unwrap_or(0)
        };
        let widths: Vec<usize> = (0..self.head.len()).map(width).collect();
        let rule: String = widths.iter().map(|width| format!("+{}", "-".repeat(width + 2))).collect::<String>() + "+\n";
        let mut text = rule.clone();
        for (&head, &width) in self.head.iter().zip(&widths) {
            text.push_str(&format!("| {head:^width$} "));
        }
        text.push_str("|\n");
        text.push_str(&rule);
        for row in &self.rows {
            for (cell, &width) in row.iter().zip(&widths) {
                text.push_str(&format!("| {cell:>width$} "));
            }
            text.push_str("|\n");
        }
        text.push_str(&rule);
        text
    }
}

// etcdctl has no table for these, and one row would say nothing the line does not.
impl Tabular for PutResponse {}
impl Tabular for DeleteRangeResponse {}
impl Tabular for TxnResponse {}
impl Tabular for Update {}
impl Tabular for LeaseGrantResponse {}
impl Tabular for Revoked {}
impl Tabular for TimeToLive {}
impl Tabular for LeaseKeepAliveResponse {}
impl Tabular for MemberAdded {}
impl Tabular for MemberChanged {}

impl Tabular for Listing {
    fn table(&self, bytes: ByteStyle) -> Option<Vec<Table>> {
        let show = |part: &[u8]| String::from_utf8_lossy(&bytes.show(part)).escape_debug().to_string();
        let rows = self.answer.kvs.iter().map(|kv| {
            let lease = if kv.lease == 0 { String::new() } else { format!("{:016x}", kv.lease) };
            let numbers = [kv.create_revision, kv.mod_revision, kv.version].map(|number| number.to_string());
            [vec![show(&kv.key), show(&kv.value)], numbers.to_vec(), vec![lease]].concat()
        });
        Some(vec![Table::new(&["KEY", "VALUE", "CREATED AT", "MODIFIED AT", "VERSION", "LEASE"], rows)])
    }
}

impl Tabular for LeaseLeasesResponse {
    fn table(&self, _: ByteStyle) -> Option<Vec<Table>> {
        Some(vec![Table::new(&["LEASE"], self.leases.iter().map(|lease| vec![format!("{:016x}", lease.id)]))])
    }
}

impl Tabular for MemberListResponse {
    fn table(&self, _: ByteStyle) -> Option<Vec<Table>> {
        let head = ["ID", "STATUS", "NAME", "PEER ADDRS", "CLIENT ADDRS", "IS LEARNER"];
        Some(vec![Table::new(&head, self.members.iter().map(member_cells))])
    }
}

impl Tabular for Vec<EndpointStatus> {
    fn table(&self, _: ByteStyle) -> Option<Vec<Table>> {
        let head = [
            "ENDPOINT",
            "ID",
            "VERSION",
            "DB SIZE",
            "IS LEADER",
            "IS LEARNER",
            "RAFT TERM",
            "RAFT INDEX",
            "RAFT APPLIED INDEX",
            "ERRORS",
        ];
        Some(vec![Table::new(&head, self.iter().map(status_cells))])
    }
}

impl Tabular for Vec<EndpointHealth> {
    fn table(&self, _: ByteStyle) -> Option<Vec<Table>> {
        let row = |one: &EndpointHealth| {
            let healthy = one.error.is_none().to_string();
            vec![one.endpoint.clone(), healthy, one.took.clone(), one.error.clone().unwrap_or_default()]
        };
        Some(vec![Table::new(&["ENDPOINT", "HEALTH", "TOOK", "ERROR"], self.iter().map(row))])
    }
}

impl Tabular for Vec<EndpointHash> {
    fn table(&self, _: ByteStyle) -> Option<Vec<Table>> {
        let rows = self.iter().map(|one| vec![one.endpoint.clone(), one.hash.hash.to_string()]);
        Some(vec![Table::new(&["ENDPOINT", "HASH"], rows)])
    }
}

impl Tabular for AlarmResponse {
    fn table(&self, _: ByteStyle) -> Option<Vec<Table>> {
        let rows = self.alarms.iter().map(|one| {
            let alarm = AlarmType::try_from(one.alarm).unwrap_or_default();
            vec![format!("{:x}", one.member_id), alarm.as_str_name().to_owned()]
        });
        Some(vec![Table::new(&["MEMBER", "ALARM"], rows)])
    }
}

impl Tabular for TopologyResponse {
    fn table(&self, _: ByteStyle) -> Option<Vec<Table>> {
        Some(topology(self))
    }
}

/// The members, zone by zone, and what the loss of each zone would leave.
pub(super) fn topology(answer: &TopologyResponse) -> Vec<Table> {
    let mut members: Vec<_> = answer.members.iter().collect();
    members.sort_by(|a, b| (&a.zone, &a.name, a.id).cmp(&(&b.zone, &b.name, b.id)));
    let rows = members.into_iter().map(|member| {
        let role = Role::try_from(member.role).unwrap_or_default().as_str_name().to_lowercase();
        let zone = if member.zone.is_empty() { "(none)" } else { &member.zone };
        let (applied, lag) = (member.applied_index.to_string(), member.lag_entries.to_string());
        let (id, urls) = (format!("{:x}", member.id), member.client_urls.join(","));
        vec![zone.to_owned(), member.name.clone(), id, role, member.health.clone(), applied, lag, urls]
    });
    let head = ["ZONE", "NAME", "ID", "ROLE", "HEALTH", "APPLIED", "LAG", "CLIENT ADDRS"];
    let zones = answer.zones.iter().map(|zone| {
        let verdict = if zone.quorum_without { "quorum stays" } else { "QUORUM LOST" };
        vec![zone.zone.clone(), zone.voters.to_string(), verdict.to_owned()]
    });
    vec![Table::new(&head, rows), Table::new(&["ZONE", "VOTERS", "IF IT IS LOST"], zones)]
}

#[cfg(test)]
mod tests {
    use holdfast_client::proto::v1::{TopologyMember, ZoneVerdict};

    use super::super::{Simple, ToJson, json};
    use super::*;

    fn lopsided() -> TopologyResponse {
        let member = |id: u64, name: &str, zone: &str, role: Role, lag_entries| TopologyMember {
            id,
            name: name.into(),
            zone: zone.into(),
            role: role.into(),
            health: "ok".into(),
            applied_index: 90 - lag_entries,
            lag_entries,
            client_urls: vec![format!("http://{name}:2379")],
            peer_urls: vec![],
        };
        let zone = |zone: &str, voters, quorum_without| ZoneVerdict { zone: zone.into(), voters, quorum_without };
        TopologyResponse {
            header: None,
            members: vec![
                member(3, "n3", "b", Role::Follower, 7),
                member(1, "n1", "a", Role::Leader, 0),
                member(2, "n2", "a", Role::Follower, 0),
            ],
            zones: vec![zone("a", 2, false), zone("b", 1, true)],
            survives_any_zone: false,
            warnings: vec!["zone a holds a quorum by itself".into()],
        }
    }

    #[test]
    fn a_lopsided_topology_is_loud_about_it() {
        let shown = String::from_utf8(lopsided().simple(ByteStyle::Raw)).expect("text");
        assert_eq!(
            shown,
            "\
+------+------+----+----------+--------+---------+-----+----------------+
| ZONE | NAME | ID |   ROLE   | HEALTH | APPLIED | LAG |  CLIENT ADDRS  |
+------+------+----+----------+--------+---------+-----+----------------+
|    a |   n1 |  1 |   leader |     ok |      90 |   0 | http://n1:2379 |
|    a |   n2 |  2 | follower |     ok |      90 |   0 | http://n2:2379 |
|    b |   n3 |  3 | follower |     ok |      83 |   7 | http://n3:2379 |
+------+------+----+----------+--------+---------+-----+----------------+
+------+--------+---------------+
| ZONE | VOTERS | IF IT IS LOST |
+------+--------+---------------+
|    a |      2 |   QUORUM LOST |
|    b |      1 |  quorum stays |
+------+--------+---------------+
THE CLUSTER DOES NOT SURVIVE THE LOSS OF EVERY ZONE.
"
        );
    }

    #[test]
    fn a_topology_in_json_leaves_nothing_out() {
        let shown = String::from_utf8(json::text(&lopsided().json())).expect("text");
        assert!(shown.contains(r#""role":"LEADER""#), "{shown}");
        assert!(shown.contains(r#"{"zone":"a","voters":2,"quorum_without":false}"#), "{shown}");
        assert!(shown.contains(r#""survives_any_zone":false"#), "{shown}");
    }
}

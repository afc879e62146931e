//! Which path means which method. The paths are etcd's.

use std::collections::BTreeMap;

use http::uri::PathAndQuery;
use prost_reflect::{DescriptorPool, MessageDescriptor};

/// A path, the service and the method behind it.
type Row = (&'static str, &'static str, &'static str);

const KV: &str = "etcdserverpb.KV";
const WATCH: &str = "etcdserverpb.Watch";
const LEASE: &str = "etcdserverpb.Lease";
const CLUSTER: &str = "etcdserverpb.Cluster";
const MAINTENANCE: &str = "etcdserverpb.Maintenance";
const AUTH: &str = "etcdserverpb.Auth";
const LOCK: &str = "v3lockpb.Lock";
const ELECTION: &str = "v3electionpb.Election";

/// Every path there is. A method that the contract does not describe (yet) is answered as not implemented.
const ROWS: &[Row] = &[
    ("/v3/kv/range", KV, "Range"),
    ("/v3/kv/put", KV, "Put"),
    ("/v3/kv/deleterange", KV, "DeleteRange"),
    ("/v3/kv/txn", KV, "Txn"),
    ("/v3/kv/compaction", KV, "Compact"),
    ("/v3/watch", WATCH, "Watch"),
    ("/v3/lease/grant", LEASE, "LeaseGrant"),
    ("/v3/lease/revoke", LEASE, "LeaseRevoke"),
    ("/v3/kv/lease/revoke", LEASE, "LeaseRevoke"),
    ("/v3/lease/keepalive", LEASE, "LeaseKeepAlive"),
    ("/v3/lease/timetolive", LEASE, "LeaseTimeToLive"),
    ("/v3/kv/lease/timetolive", LEASE, "LeaseTimeToLive"),
    ("/v3/lease/leases", LEASE, "LeaseLeases"),
    ("/v3/kv/lease/leases", LEASE, "LeaseLeases"),
    ("/v3/cluster/member/add", CLUSTER, "MemberAdd"),
    ("/v3/cluster/member/remove", CLUSTER, "MemberRemove"),
    ("/v3/cluster/member/update", CLUSTER, "MemberUpdate"),
    ("/v3/cluster/member/list", CLUSTER, "MemberList"),
    ("/v3/cluster/member/promote", CLUSTER, "MemberPromote"),
    ("/v3/maintenance/alarm", MAINTENANCE, "Alarm"),
    ("/v3/maintenance/status", MAINTENANCE, "Status"),
    ("/v3/maintenance/defragment", MAINTENANCE, "Defragment"),
    ("/v3/maintenance/hash", MAINTENANCE, "Hash"),
    ("/v3/maintenance/hashkv", MAINTENANCE, "HashKV"),
    ("/v3/maintenance/snapshot", MAINTENANCE, "Snapshot"),
    ("/v3/maintenance/transfer-leadership", MAINTENANCE, "MoveLeader"),
    ("/v3/maintenance/downgrade", MAINTENANCE, "Downgrade"),
    ("/v3/auth/enable", AUTH, "AuthEnable"),
    ("/v3/auth/disable", AUTH, "AuthDisable"),
    ("/v3/auth/status", AUTH, "AuthStatus"),
    ("/v3/auth/authenticate", AUTH, "Authenticate"),
    ("/v3/auth/user/add", AUTH, "UserAdd"),
    ("/v3/auth/user/get", AUTH, "UserGet"),
    ("/v3/auth/user/list", AUTH, "UserList"),
    ("/v3/auth/user/delete", AUTH, "UserDelete"),
    ("/v3/auth/user/changepw", AUTH, "UserChangePassword"),
    ("/v3/auth/user/grant", AUTH, "UserGrantRole"),
    ("/v3/auth/user/revoke", AUTH, "UserRevokeRole"),
    ("/v3/auth/role/add", AUTH, "RoleAdd"),
    ("/v3/auth/role/get", AUTH, "RoleGet"),
    ("/v3/auth/role/list", AUTH, "RoleList"),
    ("/v3/auth/role/delete", AUTH, "RoleDelete"),
    ("/v3/auth/role/grant", AUTH, "RoleGrantPermission"),
    ("/v3/auth/role/revoke", AUTH, "RoleRevokePermission"),
    ("/v3/lock/lock", LOCK, "Lock"),
    ("/v3/lock/unlock", LOCK, "Unlock"),
    ("/v3/election/campaign", ELECTION, "Campaign"),
    ("/v3/election/proclaim", ELECTION, "Proclaim"),
    ("/v3/election/leader", ELECTION, "Leader"),
    ("/v3/election/observe", ELECTION, "Observe"),
    ("/v3/election/resign", ELECTION, "Resign"),
];

/// What a path stands for.
#[derive(Clone, Debug)]
pub struct Method {
    pub service: &'static str,
    pub name: &'static str,
    /// `None` if the contract has no such method.
    pub contract: Option<Contract>,
}

/// What goes in and comes out.
#[derive(Clone, Debug)]
pub struct Contract {
    /// Where gRPC finds it.
    pub path: PathAndQuery,
    pub input: MessageDescriptor,
    pub output: MessageDescriptor,
    pub shape: Shape,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// One message in, one out.
    Unary,
    /// One message in, any number out.
    ServerStream,
    /// Any number in, any number out.
    BidiStream,
}

/// All methods, by path.
#[derive(Clone, Debug)]
pub struct Methods {
    by_path: BTreeMap<&'static str, Method>,
}

impl Methods {
    pub fn of(pool: &DescriptorPool) -> Self {
        let by_path = ROWS
            .iter()
            .map(|(path, service, name)| (*path, Method { service, name, contract: contract(pool, service, name) }));
        Self { by_path: by_path.collect() }
    }

    /// `/v3beta/` is what `/v3/` was called before etcd 3.4; old scripts still say so.
    pub fn find(&self, path: &str) -> Option<&Method> {
        match path.strip_prefix("/v3beta/") {
            Some(rest) => self.by_path.get(format!("/v3/{rest}").as_str()),
            None => self.by_path.get(path),
        }
    }
}

fn contract(pool: &DescriptorPool, service: &str, name: &str) -> Option<Contract> {
    let method = pool.get_service_by_name(service)?.methods().find(|method| method.name() == name)?;
    let shape = match (method.is_client_streaming(), method.is_server_streaming()) {
        (false, false) => Shape::Unary,
        (false, true) => Shape::ServerStream,
        (true, _) => Shape::BidiStream,
    };
    let path = PathAndQuery::try_from(format!("/{service}/{name}")).expect("names of the contract are plain letters");
    Some(Contract { path, input: method.input(), output: method.output(), shape })
}

#[cfg(test)]
mod tests {
    use holdfast_proto::CLIENT_DESCRIPTORS;

    use super::*;

    fn pool() -> DescriptorPool {
        DescriptorPool::decode(CLIENT_DESCRIPTORS).unwrap()
    }

    /// A service that the contract has is reachable by JSON with each of its methods.
    #[test]
    fn every_method_of_the_contract_has_a_path_and_every_path_a_method() {
        let pool = pool();
        let methods = Methods::of(&pool);
        let described: Vec<&str> = [KV, WATCH, LEASE, CLUSTER, MAINTENANCE, AUTH, LOCK, ELECTION]
            .into_iter()
            .filter(|service| pool.get_service_by_name(service).is_some())
            .collect();
        assert!(described.len() >= 5, "{described:?}");
        for (path, service, name) in ROWS {
            let found = methods.find(path).unwrap();
            assert_eq!((found.service, found.name), (*service, *name));
            assert_eq!(found.contract.is_some(), described.contains(service), "{path}");
        }
        for service in described {
            for method in pool.get_service_by_name(service).unwrap().methods() {
                // etcd has none for it either: pieces of a message mean nothing in JSON.
                if method.full_name() == "etcdserverpb.KV.RangeStream" {
                    continue;
                }
                let has_path = ROWS.iter().any(|row| (row.1, row.2) == (service, method.name()));
                assert!(has_path, "{} has no path", method.full_name());
            }
        }
    }

    #[test]
    fn paths_are_unique_and_the_old_prefix_is_understood() {
        let methods = Methods::of(&pool());
        assert_eq!(methods.by_path.len(), ROWS.len());
        assert_eq!(methods.find("/v3beta/kv/put").unwrap().name, "Put");
        for path in ["/v3alpha/kv/put", "/v3/kv/put/", "/v3/kv", "/v3beta", "/kv/put"] {
            assert!(methods.find(path).is_none(), "{path}");
        }
    }

    #[test]
    fn streams_are_known_as_such() {
        let methods = Methods::of(&pool());
        let shape = |path: &str| methods.find(path).unwrap().contract.as_ref().unwrap().shape;
        assert_eq!(shape("/v3/kv/range"), Shape::Unary);
        assert_eq!(shape("/v3/maintenance/snapshot"), Shape::ServerStream);
        assert_eq!(shape("/v3/watch"), Shape::BidiStream);
        assert_eq!(shape("/v3/lease/keepalive"), Shape::BidiStream);
    }
}

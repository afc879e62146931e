//! Users, roles, and who asks: in rounds with authentication. It is on at the start of such a round, root is logged in,
//! and some users and roles are there; then everything about them changes at random, also whether it is on.
//!
//! Root asks anything. What others ask is kept to what an etcd 3.5.1 checks too: transactions that are not nested, and
//! whose puts hand out no previous value and attach no lease; nothing about members, alarms, history, or the time that
//! leases have left; no range that can hold no key. No alarm is raised.

use bytes::Bytes;
use holdfast_proto::authpb::{self, permission};
use holdfast_proto::etcdserverpb as pb;
use holdfast_proto::etcdserverpb::request_op::Request as Op;

use super::kv::prefix_end;
use super::{Generator, Planned, Step};
use crate::differential::request::{Reply, Request};
use crate::differential::watching::WatchStep;

const ROOT: &str = "root";
/// Who has no password cannot log in.
const LOCKED: &str = "locked";
const USERS: [&str; 5] = [ROOT, "ann", "bob", "cee", LOCKED];
const ROLES: [&str; 5] = [ROOT, "r1", "r2", "r3", "r4"];
const PASSWORDS: [&str; 3] = ["one", "two", ""];

/// On whose behalf something is asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Who {
    Nobody,
    /// With the token that this user was given last, good or not; without one, as nobody.
    User(&'static str),
    /// With a token that no server has given.
    Stranger,
}

/// What the generator knows of users: enough to log them in.
pub(super) struct Plan {
    is_enabled: bool,
    /// As the reference has them. Only needed for root.
    roots_password: &'static str,
}

impl Generator {
    /// For a round that begins with users, roles, and authentication on.
    pub fn with_auth(seed: u64) -> Self {
        let mut generator = Self::new(seed);
        generator.auth = Some(Plan { is_enabled: false, roots_password: PASSWORDS[0] });
        let mut asked = vec![
            user_add(ROOT, PASSWORDS[0]),
            Request::UserGrantRole(pb::AuthUserGrantRoleRequest { user: ROOT.into(), role: ROOT.into() }),
            Request::UserAdd(pb::AuthUserAddRequest {
                name: LOCKED.into(),
                options: Some(authpb::UserAddOptions { no_password: true }),
                ..pb::AuthUserAddRequest::default()
            }),
        ];
        for (user, role) in [("ann", "r1"), ("bob", "r2")] {
            asked.push(user_add(user, PASSWORDS[0]));
            asked.push(Request::RoleAdd(pb::AuthRoleAddRequest { name: role.into() }));
            asked.push(Request::UserGrantRole(pb::AuthUserGrantRoleRequest { user: user.into(), role: role.into() }));
            for _ in 0..3 {
                asked.push(generator.grant_permission(role));
            }
        }
        asked.push(Request::AuthEnable(pb::AuthEnableRequest {}));
        asked.extend([ROOT, "ann", "bob"].map(|user| authenticate(user, PASSWORDS[0])));
        let asked = asked.into_iter().map(|request| Planned { who: Who::Nobody, step: Step::Ask(request) });
        let witness = generator.next.split_off(0);
        generator.next.extend(asked.chain(witness));
        generator
    }

    pub(super) fn step_with_auth(&mut self, is_enabled: bool) -> Planned {
        if self.chance.percent(25) {
            let who = self.who(is_enabled);
            return Planned { who, step: Step::Ask(self.auth_request(is_enabled)) };
        }
        let who = self.who(is_enabled);
        self.keys_lie_in_ranges = is_enabled && who != Who::User(ROOT);
        let step = if self.keys_lie_in_ranges { self.users_step(&who) } else { self.any_step() };
        self.keys_lie_in_ranges = false;
        // Watches that stand for long end in Holdfast when their permission does, and not in etcd.
        let step = match step {
            Step::Watch(watch) if !matches!(watch, WatchStep::Peek { .. }) => Step::Watch(self.peek()),
            step => step,
        };
        Planned { who, step }
    }

    fn who(&mut self, is_enabled: bool) -> Who {
        if !is_enabled {
            // etcd 3.5.1 refuses a token that is not good even then; later versions and Holdfast do not look at it.
            return Who::Nobody;
        }
        match self.chance.weighted(&[45, 25, 15, 7, 4, 4]) {
            0 => Who::User(ROOT),
            1 => Who::User("ann"),
            2 => Who::User("bob"),
            3 => Who::User("cee"),
            4 => Who::Nobody,
            _ => Who::Stranger,
        }
    }

    /// What is checked alike in both.
    fn users_step(&mut self, who: &Who) -> Step {
        match self.chance.weighted(&[30, 30, 10, 25, 5, 5]) {
            0 => Step::Ask(Request::Put(self.put())),
            1 => Step::Ask(Request::Range(self.lone_range())),
            2 => Step::Ask(Request::DeleteRange(self.delete_range())),
            3 => Step::Ask(Request::Txn(self.flat_txn())),
            // Who revokes a lease without keys may be nobody to an etcd 3.5.1; these two have tokens.
            4 if matches!(who, Who::User("ann" | "bob")) => {
                Step::Ask(Request::LeaseRevoke(pb::LeaseRevokeRequest { id: self.known_lease() }))
            }
            _ => Step::Watch(self.peek()),
        }
    }

    fn flat_txn(&mut self) -> pb::TxnRequest {
        let mut txn = self.txn_without_nesting();
        for op in txn.success.iter_mut().chain(&mut txn.failure) {
            if let Some(Op::RequestPut(put)) = &mut op.request {
                (put.prev_kv, put.lease) = (false, 0);
            }
        }
        txn
    }

    /// A watch that is created, answered and forgotten.
    fn peek(&mut self) -> WatchStep {
        let (key, range_end) = self.keys();
        // etcd before 3.5.28 asks for the permission of the first key alone if there is no end.
        let range_end = if range_end.as_ref() == b"\0" { Bytes::new() } else { range_end };
        WatchStep::Peek { request: pb::WatchCreateRequest { key, range_end, ..pb::WatchCreateRequest::default() } }
    }

    fn auth_request(&mut self, is_enabled: bool) -> Request {
        if !is_enabled && self.chance.percent(50) {
            return self.towards_enabled();
        }
        let (user, role) = (self.user(), self.role());
        match self.chance.weighted(&[2, 1, 6, 30, 5, 6, 4, 3, 5, 8, 7, 5, 6, 3, 3, 14, 8]) {
            0 => Request::AuthEnable(pb::AuthEnableRequest {}),
            1 => Request::AuthDisable(pb::AuthDisableRequest {}),
            2 => Request::AuthStatus(pb::AuthStatusRequest {}),
            3 => self.log_in(user),
            4 => user_add(user, self.password()),
            // To etcd, a nobody that asks for nobody asks for itself.
            5 => Request::UserGet(pb::AuthUserGetRequest { name: if user.is_empty() { "ann" } else { user }.into() }),
            6 => Request::UserList(pb::AuthUserListRequest {}),
            7 => Request::UserDelete(pb::AuthUserDeleteRequest { name: self.mostly_not_root(user).into() }),
            8 => self.change_password(user),
            9 => Request::UserGrantRole(pb::AuthUserGrantRoleRequest { user: user.into(), role: role.into() }),
            10 => Request::UserRevokeRole(pb::AuthUserRevokeRoleRequest {
                name: self.mostly_not_root(user).into(),
                role: role.into(),
            }),
            11 => Request::RoleAdd(pb::AuthRoleAddRequest { name: role.into() }),
            12 => Request::RoleGet(pb::AuthRoleGetRequest { role: role.into() }),
            13 => Request::RoleList(pb::AuthRoleListRequest {}),
            14 => Request::RoleDelete(pb::AuthRoleDeleteRequest { role: role.into() }),
            15 => self.grant_permission(role),
            _ => self.revoke_permission(role),
        }
    }

    /// Without a root nothing more of this would be seen.
    fn towards_enabled(&mut self) -> Request {
        match self.chance.weighted(&[20, 20, 60]) {
            0 => user_add(ROOT, PASSWORDS[0]),
            1 => Request::UserGrantRole(pb::AuthUserGrantRoleRequest { user: ROOT.into(), role: ROOT.into() }),
            _ => Request::AuthEnable(pb::AuthEnableRequest {}),
        }
    }

    fn user(&mut self) -> &'static str {
        if self.chance.percent(3) { self.chance.pick(&["", "nobody", "ann "]) } else { self.chance.pick(&USERS) }
    }

    fn role(&mut self) -> &'static str {
        if self.chance.percent(3) { self.chance.pick(&["", "none"]) } else { self.chance.pick(&ROLES) }
    }

    fn mostly_not_root(&mut self, user: &'static str) -> &'static str {
        if user == ROOT && self.chance.percent(80) { "cee" } else { user }
    }

    fn password(&mut self) -> &'static str {
        PASSWORDS[self.chance.weighted(&[70, 20, 10])]
    }

    fn log_in(&mut self, user: &'static str) -> Request {
        // With a password it would be told from one that does not exist: a difference that is meant.
        let user = if user == LOCKED { "ann" } else { user };
        let roots = self.auth.as_ref().map_or("", |plan| plan.roots_password);
        let password = if user == ROOT && self.chance.percent(80) { roots } else { self.password() };
        authenticate(user, password)
    }

    fn change_password(&mut self, user: &'static str) -> Request {
        // Without a password nobody logs in, and a round without root shows little.
        let password = if user == ROOT { self.chance.pick(&PASSWORDS[..2]) } else { self.password() }.to_owned();
        let name = user.to_owned();
        Request::UserChangePassword(pb::AuthUserChangePasswordRequest {
            name,
            password,
            ..pb::AuthUserChangePasswordRequest::default()
        })
    }

    /// A range with keys in it: others an etcd before 3.5.2 takes, and later ones refuse. From each key on there is one
    /// range only: where there are several, etcd may not find the one that is granted anew, and has it twice.
    fn permitted_range(&mut self) -> (Bytes, Bytes) {
        let key = std::iter::repeat_with(|| self.keys().0).find(|key| !key.is_empty()).unwrap_or_default();
        let range_end = match key.iter().map(|byte| u32::from(*byte)).sum::<u32>() % 4 {
            0 => Bytes::new(),
            1 => Bytes::from_static(b"\0"),
            _ => prefix_end(&key),
        };
        (key, range_end)
    }

    fn grant_permission(&mut self, role: &str) -> Request {
        let (key, range_end) = self.permitted_range();
        let perm_type =
            self.chance.pick(&[permission::Type::Read, permission::Type::Write, permission::Type::Readwrite]);
        let perm = authpb::Permission { perm_type: perm_type as i32, key, range_end };
        let perm = (!self.chance.one_in(50)).then_some(perm);
        Request::RoleGrantPermission(pb::AuthRoleGrantPermissionRequest { name: role.into(), perm })
    }

    fn revoke_permission(&mut self, role: &str) -> Request {
        let (key, range_end) = self.permitted_range();
        Request::RoleRevokePermission(pb::AuthRoleRevokePermissionRequest { role: role.into(), key, range_end })
    }

    pub(super) fn learn_auth(&mut self, request: &Request, reply: &Reply) {
        let Some(plan) = &mut self.auth else { return };
        let log_in = |user| Planned { who: Who::Nobody, step: Step::Ask(user) };
        match (request, reply) {
            (Request::AuthEnable(_), Reply::AuthEnable(_)) => {
                plan.is_enabled = true;
                self.next.push_back(log_in(authenticate(ROOT, plan.roots_password)));
            }
            (Request::AuthDisable(_), Reply::AuthDisable(_)) => plan.is_enabled = false,
            (Request::UserAdd(request), _) if request.name == ROOT => plan.roots_password = known(&request.password),
            (Request::UserChangePassword(request), _) if request.name == ROOT => {
                plan.roots_password = known(&request.password);
                if plan.is_enabled {
                    self.next.push_back(log_in(authenticate(ROOT, plan.roots_password)));
                }
            }
            _ => {}
        }
    }

    /// Root, if authentication is on.
    pub(super) fn whoever_may(&self) -> Who {
        if self.auth_is_on() == Some(true) { Who::User(ROOT) } else { Who::Nobody }
    }

    /// Whether authentication is on, in a round that has any.
    pub(super) fn auth_is_on(&self) -> Option<bool> {
        self.auth.as_ref().map(|plan| plan.is_enabled)
    }
}

fn known(password: &str) -> &'static str {
    PASSWORDS.into_iter().find(|one| *one == password).unwrap_or_default()
}

fn user_add(name: &str, password: &str) -> Request {
    let (name, password) = (name.to_owned(), password.to_owned());
    Request::UserAdd(pb::AuthUserAddRequest { name, password, ..pb::AuthUserAddRequest::default() })
}

fn authenticate(name: &str, password: &str) -> Request {
    let (name, password) = (name.to_owned(), password.to_owned());
    Request::Authenticate(pb::AuthenticateRequest { name, password })
}

//! What is asked, and what is answered: the unary calls of the API, and the short streams that answer like one.

use futures::StreamExt;
use holdfast_proto::etcdserverpb as pb;
use holdfast_proto::etcdserverpb::auth_client::AuthClient;
use holdfast_proto::etcdserverpb::cluster_client::ClusterClient;
use holdfast_proto::etcdserverpb::kv_client::KvClient;
use holdfast_proto::etcdserverpb::lease_client::LeaseClient;
use holdfast_proto::etcdserverpb::maintenance_client::MaintenanceClient;
use tonic::transport::Channel;
use tonic::{Code, Request as Asked, Status};

/// The largest message either server sends here; tonic refuses 4 MiB otherwise.
const ANSWER_BYTES_MAX: usize = 64 * 1024 * 1024;

macro_rules! requests {
    ($($name:ident($request:ty) -> $reply:ty = $client:ident.$method:ident;)*) => {
        /// One request, of any kind.
        #[derive(Clone, Debug, PartialEq)]
        pub enum Request {
            $($name($request),)*
            /// Renewals on one stream, which is then closed.
            LeaseKeepAlive(Vec<pb::LeaseKeepAliveRequest>),
        }

        #[derive(Clone, Debug, PartialEq)]
        pub enum Reply {
            $($name($reply),)*
            LeaseKeepAlive(Vec<pb::LeaseKeepAliveResponse>),
        }

        impl Request {
            pub fn name(&self) -> &'static str {
                match self {
                    $(Self::$name(_) => stringify!($name),)*
                    Self::LeaseKeepAlive(_) => "LeaseKeepAlive",
                }
            }
        }

        impl Clients {
            /// Asks with a token, if there is one.
            pub async fn ask(&self, request: Request, token: Option<&str>) -> Result<Reply, Status> {
                match request {
                    $(Request::$name(request) => {
                        let answer = self.$client.clone().$method(with_token(request, token)).await?;
                        Ok(Reply::$name(answer.into_inner()))
                    })*
                    Request::LeaseKeepAlive(requests) => self.keep_alive(requests, token).await,
                }
            }
        }
    };
}

requests! {
    Range(pb::RangeRequest) -> pb::RangeResponse = kv.range;
    Put(pb::PutRequest) -> pb::PutResponse = kv.put;
    DeleteRange(pb::DeleteRangeRequest) -> pb::DeleteRangeResponse = kv.delete_range;
    Txn(pb::TxnRequest) -> pb::TxnResponse = kv.txn;
    Compact(pb::CompactionRequest) -> pb::CompactionResponse = kv.compact;
    LeaseGrant(pb::LeaseGrantRequest) -> pb::LeaseGrantResponse = lease.lease_grant;
    LeaseRevoke(pb::LeaseRevokeRequest) -> pb::LeaseRevokeResponse = lease.lease_revoke;
    LeaseTimeToLive(pb::LeaseTimeToLiveRequest) -> pb::LeaseTimeToLiveResponse = lease.lease_time_to_live;
    LeaseLeases(pb::LeaseLeasesRequest) -> pb::LeaseLeasesResponse = lease.lease_leases;
    MemberAdd(pb::MemberAddRequest) -> pb::MemberAddResponse = cluster.member_add;
    MemberRemove(pb::MemberRemoveRequest) -> pb::MemberRemoveResponse = cluster.member_remove;
    MemberUpdate(pb::MemberUpdateRequest) -> pb::MemberUpdateResponse = cluster.member_update;
    MemberList(pb::MemberListRequest) -> pb::MemberListResponse = cluster.member_list;
    MemberPromote(pb::MemberPromoteRequest) -> pb::MemberPromoteResponse = cluster.member_promote;
    Alarm(pb::AlarmRequest) -> pb::AlarmResponse = maintenance.alarm;
    Status(pb::StatusRequest) -> pb::StatusResponse = maintenance.status;
    Defragment(pb::DefragmentRequest) -> pb::DefragmentResponse = maintenance.defragment;
    Hash(pb::HashRequest) -> pb::HashResponse = maintenance.hash;
    HashKv(pb::HashKvRequest) -> pb::HashKvResponse = maintenance.hash_kv;
    MoveLeader(pb::MoveLeaderRequest) -> pb::MoveLeaderResponse = maintenance.move_leader;
    Downgrade(pb::DowngradeRequest) -> pb::DowngradeResponse = maintenance.downgrade;
    AuthEnable(pb::AuthEnableRequest) -> pb::AuthEnableResponse = auth.auth_enable;
    AuthDisable(pb::AuthDisableRequest) -> pb::AuthDisableResponse = auth.auth_disable;
    AuthStatus(pb::AuthStatusRequest) -> pb::AuthStatusResponse = auth.auth_status;
    Authenticate(pb::AuthenticateRequest) -> pb::AuthenticateResponse = auth.authenticate;
    UserAdd(pb::AuthUserAddRequest) -> pb::AuthUserAddResponse = auth.user_add;
    UserGet(pb::AuthUserGetRequest) -> pb::AuthUserGetResponse = auth.user_get;
    UserList(pb::AuthUserListRequest) -> pb::AuthUserListResponse = auth.user_list;
    UserDelete(pb::AuthUserDeleteRequest) -> pb::AuthUserDeleteResponse = auth.user_delete;
    UserChangePassword(pb::AuthUserChangePasswordRequest) -> pb::AuthUserChangePasswordResponse
        = auth.user_change_password;
    UserGrantRole(pb::AuthUserGrantRoleRequest) -> pb::AuthUserGrantRoleResponse = auth.user_grant_role;
    UserRevokeRole(pb::AuthUserRevokeRoleRequest) -> pb::AuthUserRevokeRoleResponse = auth.user_revoke_role;
    RoleAdd(pb::AuthRoleAddRequest) -> pb::AuthRoleAddResponse = auth.role_add;
    RoleGet(pb::AuthRoleGetRequest) -> pb::AuthRoleGetResponse = auth.role_get;
    RoleList(pb::AuthRoleListRequest) -> pb::AuthRoleListResponse = auth.role_list;
    RoleDelete(pb::AuthRoleDeleteRequest) -> pb::AuthRoleDeleteResponse = auth.role_delete;
    RoleGrantPermission(pb::AuthRoleGrantPermissionRequest) -> pb::AuthRoleGrantPermissionResponse
        = auth.role_grant_permission;
    RoleRevokePermission(pb::AuthRoleRevokePermissionRequest) -> pb::AuthRoleRevokePermissionResponse
        = auth.role_revoke_permission;
}

/// A client of each service, over one connection.
#[derive(Clone)]
pub struct Clients {
    kv: KvClient<Channel>,
    lease: LeaseClient<Channel>,
    cluster: ClusterClient<Channel>,
    maintenance: MaintenanceClient<Channel>,
    auth: AuthClient<Channel>,
}

/// A message with a token, if there is one, as etcd's clients send it.
pub fn with_token<T>(message: T, token: Option<&str>) -> Asked<T> {
    let mut request = Asked::new(message);
    if let Some(token) = token {
        request.metadata_mut().insert("token", token.parse().expect("a token is ASCII"));
    }
    request
}

impl Clients {
    pub fn new(channel: &Channel) -> Self {
        Self {
            kv: KvClient::new(channel.clone()).max_decoding_message_size(ANSWER_BYTES_MAX),
            lease: LeaseClient::new(channel.clone()),
            cluster: ClusterClient::new(channel.clone()),
            maintenance: MaintenanceClient::new(channel.clone()),
            auth: AuthClient::new(channel.clone()),
        }
    }

    async fn keep_alive(&self, requests: Vec<pb::LeaseKeepAliveRequest>, token: Option<&str>) -> Result<Reply, Status> {
        let requests = with_token(futures::stream::iter(requests), token);
        let mut answers = self.lease.clone().lease_keep_alive(requests).await?.into_inner();
        let mut replies = Vec::new();
        while let Some(answer) = answers.next().await {
            replies.push(answer?);
        }
        Ok(Reply::LeaseKeepAlive(replies))
    }
}

/// How a request was answered.
#[derive(Clone, Debug, PartialEq)]
pub enum Answer {
    Given(Box<Reply>),
    Refused {
        code: Code,
        message: String,
    },
    /// Nothing came within the time a request is given.
    Silence,
}

impl Answer {
    /// The revision in the header, where there is one.
    pub fn revision(&self) -> Option<i64> {
        let Self::Given(reply) = self else { return None };
        let header = match &**reply {
            Reply::Range(reply) => &reply.header,
            Reply::Put(reply) => &reply.header,
            Reply::DeleteRange(reply) => &reply.header,
            Reply::Txn(reply) => &reply.header,
            Reply::Compact(reply) => &reply.header,
            Reply::LeaseRevoke(reply) => &reply.header,
            _ => &None,
        };
        header.as_ref().map(|header| header.revision)
    }
}

impl From<Result<Reply, Status>> for Answer {
    fn from(answer: Result<Reply, Status>) -> Self {
        match answer {
            Ok(reply) => Self::Given(Box::new(reply)),
            Err(status) => Self::Refused { code: status.code(), message: status.message().to_owned() },
        }
    }
}

//! `KV.RangeStream`: the pieces together are what `KV.Range` answers.

use std::time::Duration;

use bytes::Bytes;
use holdfast_node::rt;
use holdfast_proto::authpb::Permission;
use holdfast_proto::etcdserverpb::auth_client::AuthClient;
use holdfast_proto::etcdserverpb::kv_client::KvClient;
use holdfast_proto::etcdserverpb::range_request::{SortOrder, SortTarget};
use holdfast_proto::etcdserverpb::{
    AuthEnableRequest, AuthRoleAddRequest, AuthRoleGrantPermissionRequest, AuthUserAddRequest,
    AuthUserGrantRoleRequest, AuthenticateRequest, CompactionRequest, DeleteRangeRequest, PutRequest, RangeRequest,
    RangeResponse,
};
use tonic::{Code, Request, Status};

use crate::server::{self, Server};

type Kv = KvClient<rt::Channel>;

fn channel(server: &Server) -> rt::Channel {
    rt::connect(&format!("http://{}", server.web.address), &rt::PeerTls::default()).unwrap()
}

fn kv(server: &Server) -> Kv {
    KvClient::new(channel(server)).max_decoding_message_size(64 * 1024 * 1024)
}

async fn put(kv: &mut Kv, key: &str, value: Vec<u8>) {
    let put = PutRequest { key: key.to_owned().into(), value: value.into(), ..PutRequest::default() };
    kv.put(put).await.unwrap();
}

fn all() -> RangeRequest {
    RangeRequest { key: Bytes::from_static(b"\0"), range_end: Bytes::from_static(b"\0"), ..RangeRequest::default() }
}

/// The pieces as they come, and what ended them.
async fn pieces(kv: &mut Kv, request: impl tonic::IntoRequest<RangeRequest>) -> (Vec<RangeResponse>, Option<Status>) {
    let mut pieces = Vec::new();
    let mut stream = match kv.range_stream(request).await {
        Ok(stream) => stream.into_inner(),
        Err(status) => return (pieces, Some(status)),
    };
    loop {
        match stream.message().await {
            Ok(Some(piece)) => pieces.push(piece.range_response.unwrap()),
            Ok(None) => return (pieces, None),
            Err(status) => return (pieces, Some(status)),
        }
    }
}

/// One answer of all pieces, as a protobuf library merges them.
fn merged(pieces: Vec<RangeResponse>) -> RangeResponse {
    let mut whole = RangeResponse::default();
    let last = pieces.len() - 1;
    for (at, piece) in pieces.into_iter().enumerate() {
        assert_eq!(piece.header.is_some(), at == last, "the header comes last");
        assert!(at == last || (!piece.more && piece.count == 0 && !piece.kvs.is_empty()), "{at} of {last}");
        whole.kvs.extend(piece.kvs);
        (whole.header, whole.more, whole.count) = (piece.header, piece.more, piece.count);
    }
    whole
}

#[tokio::test(flavor = "multi_thread")]
async fn a_range_in_pieces_is_the_same_range() {
    let server = server::start().await;
    let mut kv = kv(&server);
    // Some keys with history, one deleted, one larger than a piece.
    for round in 0..2 {
        for number in 0..40 {
            put(&mut kv, &format!("k{number:02}"), vec![b'0' + round; 60_000]).await;
        }
    }
    put(&mut kv, "k07", vec![b'x'; 900_000]).await;
    let delete = DeleteRangeRequest { key: "k08".into(), ..DeleteRangeRequest::default() };
    kv.delete_range(delete).await.unwrap();
    let newest = kv.range(all()).await.unwrap().into_inner().header.unwrap().revision;
    let span = |from: &str, to: &str| RangeRequest {
        key: from.to_owned().into(),
        range_end: to.to_owned().into(),
        ..RangeRequest::default()
    };
    let mut asked = vec![
        span("k07", ""),
        span("k08", ""),
        span("k10", "k20"),
        span("k20", "k10"),
        span("nothing", "nowhere"),
        RangeRequest { sort_target: SortTarget::Mod as i32, ..all() },
        RangeRequest { sort_order: SortOrder::Ascend as i32, ..all() },
    ];
    for limit in [0, 1, 7, 38, 39, 40] {
        for revision in [0, 30, newest - 1, newest] {
            asked.push(RangeRequest { limit, revision, ..all() });
            asked.push(RangeRequest { limit, revision, keys_only: true, serializable: true, ..all() });
            asked.push(RangeRequest { limit, revision, count_only: true, ..all() });
        }
    }
    let mut cut = 0;
    for request in asked {
        // A target without an order is passed over here; there it sorts, which by the last change would show.
        let plain = RangeRequest { sort_target: SortTarget::Key as i32, ..request.clone() };
        let expected = kv.range(plain).await.unwrap().into_inner();
        let (pieces, ended) = pieces(&mut kv, request.clone()).await;
        assert!(ended.is_none(), "{request:?}: {ended:?}");
        let largest = pieces.iter().map(|piece| piece.kvs.iter().map(|kv| kv.value.len()).sum()).max();
        assert!(largest < Some(512 * 1024 + 900_000), "a piece of {largest:?} bytes");
        cut += usize::from(pieces.len() > 1);
        assert_eq!(merged(pieces), expected, "{request:?}");
    }
    assert!(cut > 5, "{cut} ranges came in pieces");
    server.node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_range_in_pieces_stays_at_its_revision_or_says_that_it_is_gone() {
    let server = server::start().await;
    let mut kv = kv(&server);
    for number in 0..40 {
        put(&mut kv, &format!("k{number:02}"), vec![b'0'; 500_000]).await;
    }
    // The client reads one piece; a window of HTTP/2 is all that goes ahead of it.
    let mut old = kv.range_stream(all()).await.unwrap().into_inner();
    let mut lost = kv.range_stream(all()).await.unwrap().into_inner();
    let first = old.message().await.unwrap().unwrap().range_response.unwrap();
    assert_eq!((first.kvs.len(), first.header), (2, None));
    lost.message().await.unwrap().unwrap();
    for number in 0..40 {
        put(&mut kv, &format!("k{number:02}"), b"new".to_vec()).await;
    }
    put(&mut kv, "k99", b"new".to_vec()).await;
    let mut rest = vec![first];
    while let Some(piece) = old.message().await.unwrap() {
        rest.push(piece.range_response.unwrap());
    }
    let whole = merged(rest);
    assert_eq!((whole.kvs.len(), whole.count, whole.header.unwrap().revision), (40, 40, 41));
    assert!(whole.kvs.iter().all(|kv| kv.value.len() == 500_000), "what came later is not in it");

    kv.compact(CompactionRequest { revision: 82, physical: false }).await.unwrap();
    let error = loop {
        match lost.message().await {
            Ok(Some(piece)) => assert_eq!(piece.range_response.unwrap().header, None, "it cannot be whole"),
            Ok(None) => panic!("half a range ended as if it were a whole one"),
            Err(status) => break status,
        }
    };
    assert_eq!(
        (error.code(), error.message()),
        (Code::OutOfRange, "etcdserver: mvcc: required revision has been compacted")
    );
    server.node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_range_in_pieces_is_refused_as_etcd_does() {
    let server = server::start().await;
    let mut kv = kv(&server);
    let sorted = |order: SortOrder, target: SortTarget| RangeRequest {
        sort_order: order as i32,
        sort_target: target as i32,
        ..all()
    };
    let no_sorting = "RangeStream does not support custom sort orders";
    let no_filters = "RangeStream does not support revision filters";
    let refused = [
        (sorted(SortOrder::Descend, SortTarget::Key), Code::Unimplemented, no_sorting),
        (sorted(SortOrder::Ascend, SortTarget::Mod), Code::Unimplemented, no_sorting),
        (RangeRequest { min_mod_revision: 1, ..all() }, Code::Unimplemented, no_filters),
        (RangeRequest { max_mod_revision: 1, ..all() }, Code::Unimplemented, no_filters),
        (RangeRequest { min_create_revision: 1, ..all() }, Code::Unimplemented, no_filters),
        (RangeRequest { max_create_revision: 1, ..all() }, Code::Unimplemented, no_filters),
        (RangeRequest { sort_order: 3, ..all() }, Code::InvalidArgument, "etcdserver: invalid sort option"),
        (RangeRequest::default(), Code::InvalidArgument, "etcdserver: key is not provided"),
        (
            RangeRequest { revision: 9, ..all() },
            Code::OutOfRange,
            "etcdserver: mvcc: required revision is a future revision",
        ),
    ];
    for (request, code, text) in refused {
        let (pieces, ended) = pieces(&mut kv, request).await;
        let ended = ended.unwrap();
        assert_eq!((pieces.len(), ended.code(), ended.message()), (0, code, text));
    }
    let metrics = server.web.ask("GET", "/metrics", &[], "").await.body;
    let method = r#"grpc_method="RangeStream",grpc_service="etcdserverpb.KV",grpc_type="server_stream""#;
    let line = format!("grpc_server_started_total{{{method}}} 9");
    assert!(metrics.lines().any(|found| found == line), "{line} is missing in\n{metrics}");
    server.node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_range_in_pieces_ends_when_its_caller_may_not_read_it_any_more() {
    let server = server::start_with(&[("bcrypt-cost", "4")]).await;
    let (mut kv, mut auth) = (kv(&server), AuthClient::new(channel(&server)));
    for number in 0..40 {
        put(&mut kv, &format!("k{number:02}"), vec![b'0'; 500_000]).await;
    }
    for name in ["root", "ann"] {
        let (name, password) = (name.to_owned(), name.to_owned());
        auth.user_add(AuthUserAddRequest { name, password, ..AuthUserAddRequest::default() }).await.unwrap();
    }
    auth.role_add(AuthRoleAddRequest { name: "reader".to_owned() }).await.unwrap();
    let perm = Permission { perm_type: 0, key: "k".into(), range_end: "l".into() };
    let grant = AuthRoleGrantPermissionRequest { name: "reader".to_owned(), perm: Some(perm) };
    auth.role_grant_permission(grant).await.unwrap();
    for (user, role) in [("root", "root"), ("ann", "reader")] {
        let (user, role) = (user.to_owned(), role.to_owned());
        auth.user_grant_role(AuthUserGrantRoleRequest { user, role }).await.unwrap();
    }
    auth.auth_enable(AuthEnableRequest {}).await.unwrap();
    let mut tokens = Vec::new();
    for name in ["root", "ann"] {
        let (name, password) = (name.to_owned(), name.to_owned());
        tokens.push(auth.authenticate(AuthenticateRequest { name, password }).await.unwrap().into_inner().token);
    }
    let with = |token: &str, request: RangeRequest| {
        let mut request = Request::new(request);
        request.metadata_mut().insert("token", token.parse().unwrap());
        request
    };
    let theirs = RangeRequest { key: "k".into(), range_end: "l".into(), ..RangeRequest::default() };

    let (none, nobody) = pieces(&mut kv, theirs.clone()).await;
    assert_eq!((none.len(), nobody.unwrap().code()), (0, Code::InvalidArgument));
    let (none, too_much) = pieces(&mut kv, with(&tokens[1], all())).await;
    assert_eq!((none.len(), too_much.unwrap().code()), (0, Code::PermissionDenied));
    let (whole, ended) = pieces(&mut kv, with(&tokens[1], theirs.clone())).await;
    assert_eq!((merged(whole).count, ended.is_none()), (40, true));

    let mut stream = kv.range_stream(with(&tokens[1], theirs)).await.unwrap().into_inner();
    stream.message().await.unwrap().unwrap();
    let mut delete = Request::new(holdfast_proto::etcdserverpb::AuthRoleDeleteRequest { role: "reader".to_owned() });
    delete.metadata_mut().insert("token", tokens[0].parse().unwrap());
    auth.role_delete(delete).await.unwrap();
    let denied = loop {
        match tokio::time::timeout(Duration::from_secs(10), stream.message()).await.unwrap() {
            Ok(Some(piece)) => assert_eq!(piece.range_response.unwrap().header, None, "it cannot be whole"),
            Ok(None) => panic!("all of it was read"),
            Err(status) => break status,
        }
    };
    assert_eq!((denied.code(), denied.message()), (Code::PermissionDenied, "etcdserver: permission denied"));
    server.node.stop().await;
}

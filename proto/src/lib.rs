//! The wire contract, as Rust types.
//!
//! ```text
//! etcd/      the etcd v3 API        -> etcdserverpb, mvccpb,    what clients speak
//!                                      authpb
//!            lock, election.proto   -> v3lockpb, v3electionpb
//! grpc/      health.proto           -> health                   what probes and load balancers speak
//! holdfast/  log.proto              -> log                      what the Raft log carries, on disk
//!            peer.proto             -> peer                     what members say to one another
//!            v1, fencing.proto      -> v1                       what etcd's API has no words for
//! ```
//!
//! [`CLIENT_DESCRIPTORS`] is what clients speak, described in protobuf's own words.
//!
//! Byte fields are [`bytes::Bytes`](https://docs.rs/bytes): a value is copied off the socket once and shared from
//! there on.

// The doc comments of generated code come from the `.proto` files, which are not written as Markdown.
#![allow(rustdoc::all, clippy::all)]

pub mod mvccpb {
    tonic::include_proto!("mvccpb");
}
pub mod authpb {
    tonic::include_proto!("authpb");
}
pub mod etcdserverpb {
    tonic::include_proto!("etcdserverpb");
}
pub mod v3lockpb {
    tonic::include_proto!("v3lockpb");
}
pub mod v3electionpb {
    tonic::include_proto!("v3electionpb");
}

pub mod health {
    tonic::include_proto!("grpc.health.v1");
}

/// An encoded `google.protobuf.FileDescriptorSet` of every package that clients speak.
pub const CLIENT_DESCRIPTORS: &[u8] = tonic::include_file_descriptor_set!("client_descriptors");

/// Nested as the packages are, because generated code names its neighbours by relative paths.
mod holdfast {
    pub mod log {
        pub mod v1 {
            tonic::include_proto!("holdfast.log.v1");
        }
    }
    pub mod peer {
        pub mod v1 {
            tonic::include_proto!("holdfast.peer.v1");
        }
    }
    pub mod v1 {
        tonic::include_proto!("holdfast.v1");
    }
}
pub use holdfast::log::v1 as log;
pub use holdfast::peer::v1 as peer;
pub use holdfast::v1;

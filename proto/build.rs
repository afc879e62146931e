//! Compiles the `.proto` files with protox, a protobuf compiler in Rust: no system protoc is needed.

use std::path::PathBuf;

use protox::prost::Message;

/// What only members say to one another, and to their disks. The rest is for clients.
const OWN: [&str; 2] = ["holdfast/log.proto", "holdfast/peer.proto"];

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let files = [
        "etcd/kv.proto",
        "etcd/rpc.proto",
        "etcd/auth.proto",
        "etcd/auth_rpc.proto",
        "grpc/health.proto",
        "etcd/lock.proto",
        "etcd/election.proto",
        "holdfast/fencing.proto",
        "holdfast/log.proto",
        "holdfast/peer.proto",
        "holdfast/v1.proto",
    ];
    for file in files {
        println!("cargo:rerun-if-changed={file}");
    }
    let descriptors = protox::compile(files, ["."])?;

    // What the JSON gateway and the reflection service know the contract by: without the comments.
    let mut for_clients = descriptors.clone();
    for_clients.file.retain(|file| !OWN.contains(&file.name()));
    for_clients.file.iter_mut().for_each(|file| file.source_code_info = None);
    let out = PathBuf::from(std::env::var("OUT_DIR")?).join("client_descriptors.bin");
    std::fs::write(out, for_clients.encode_to_vec())?;

    tonic_prost_build::configure()
        // Clients stay generic over their channel, so that the simulator can carry them over its own network.
        .build_transport(false)
        .bytes(".")
        .compile_fds(descriptors)?;
    Ok(())
}

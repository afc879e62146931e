//! Compiles the `.proto` files with protox, a protobuf compiler in Rust: no system protoc is needed.

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let files = ["etcd/kv.proto", "etcd/rpc.proto", "holdfast/log.proto", "holdfast/peer.proto", "holdfast/v1.proto"];
    for file in files {
        println!("cargo:rerun-if-changed={file}");
    }
    let descriptors = protox::compile(files, ["."])?;
    tonic_prost_build::configure()
        // Clients stay generic over their channel, so that the simulator can carry them over its own network.
        .build_transport(false)
        .bytes(".")
        .compile_fds(descriptors)?;
    Ok(())
}

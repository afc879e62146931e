//! Server reflection: tools like grpcurl ask a member what it speaks, and need no `.proto` files. Both versions of the
//! protocol are served, as tools differ.

use std::collections::BTreeSet;

use holdfast_proto::CLIENT_DESCRIPTORS;
use prost_reflect::DescriptorPool;
use tonic::service::Routes;
use tonic_reflection::server::Builder;

/// Adds the two services of reflection. They tell of the contract alone, nothing of what is stored.
pub fn add(routes: Routes) -> Routes {
    const WHY: &str = "the contract was compiled into this program";
    let of_contract = || Builder::configure().register_encoded_file_descriptor_set(CLIENT_DESCRIPTORS);
    routes.add_service(of_contract().build_v1().expect(WHY)).add_service(of_contract().build_v1alpha().expect(WHY))
}

/// Full names of the services that clients speak to.
pub fn service_names() -> BTreeSet<String> {
    let pool = DescriptorPool::decode(CLIENT_DESCRIPTORS).expect("the contract was compiled into this program");
    pool.services().map(|service| service.full_name().to_owned()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_members_say_to_one_another_is_not_shown() {
        let names = service_names();
        for name in ["etcdserverpb.KV", "etcdserverpb.Watch", "grpc.health.v1.Health", "holdfast.v1.Topology"] {
            assert!(names.contains(name), "{name} is missing in {names:?}");
        }
        assert!(!names.iter().any(|name| name.starts_with("holdfast.peer")), "{names:?}");
    }
}

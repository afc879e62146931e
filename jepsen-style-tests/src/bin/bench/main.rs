//! `make bench`: our cluster and an etcd cluster under the same load, in turn. See `holdfast_jepsen::bench`.

#[cfg(not(madsim))]
fn main() -> std::process::ExitCode {
    holdfast_jepsen::bench::main()
}

/// Real processes under real load have no place in a simulation.
#[cfg(madsim)]
fn main() {}

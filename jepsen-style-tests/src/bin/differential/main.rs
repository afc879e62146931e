//! `make differential`: the same random requests to an etcd and to Holdfast. See `holdfast_jepsen::differential`.

#[cfg(not(madsim))]
fn main() -> std::process::ExitCode {
    holdfast_jepsen::differential::main()
}

/// Real processes have no place in a simulation.
#[cfg(madsim)]
fn main() {}

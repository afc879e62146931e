//! The `holdfast` program. What it can do is in `cli/`; what it is made of is told in the library.

#[cfg(not(madsim))]
mod cli;

/// A server allocates for every request, on every thread; this allocator costs it a third of what the C library's does.
#[cfg(not(madsim))]
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

#[cfg(not(madsim))]
fn main() -> std::process::ExitCode {
    cli::run()
}

/// The simulator starts nodes itself, in one process.
#[cfg(madsim)]
fn main() {}

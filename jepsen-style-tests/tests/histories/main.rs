//! `jepsen check` and the search behind it: small histories with known verdicts, a slow checker to agree with, and,
//! where `HOLDFAST_HISTORIES` names a folder with a `verdicts.csv` (file, true or false), everything in there.

#![cfg(not(madsim))]

mod against_brute_force;
mod judged;

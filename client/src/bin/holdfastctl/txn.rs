//! `txn`: reads a transaction, executes it, shows what was done.

use std::io::BufRead;

use crate::Session;
use crate::args::TxnArgs;
use crate::failure::Failure;
use crate::output;
use crate::txn_script::{parse_compare, parse_operation};

pub(crate) async fn txn(session: &Session, args: TxnArgs) -> Result<(), Failure> {
    let mut lines = std::io::stdin().lock().lines();
    let mut block = |title: &str| -> Result<Vec<String>, Failure> {
        if args.interactive {
            output::line(title)?;
        }
        read_block(&mut lines)
    };
    let mut txn = session.client.txn();
    for line in block("compares:")? {
        txn = txn.when(parse_compare(&line).map_err(Failure::input)?);
    }
    for line in block("success requests (get, put, del):")? {
        txn = txn.then(parse_operation(&line)?);
    }
    for line in block("failure requests (get, put, del):")? {
        txn = txn.otherwise(parse_operation(&line)?);
    }
    let answer = txn.await?;
    session.printer.show(&answer)
}

/// Lines up to an empty one, or to the end of the input.
fn read_block(lines: &mut impl Iterator<Item = std::io::Result<String>>) -> Result<Vec<String>, Failure> {
    let mut block = Vec::new();
    for line in lines {
        let line = line.map_err(|error| Failure::file("cannot read the transaction", &error))?;
        let line = line.trim().to_owned();
        if line.is_empty() {
            break;
        }
        block.push(line);
    }
    Ok(block)
}

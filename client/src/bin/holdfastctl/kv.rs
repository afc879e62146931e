//! `put`, `get`, `del`, `compaction`. The same arguments are the lines of a transaction.

use std::io::Read;

use holdfast_client::{Delete, Get, Order, Put, SortBy};

use crate::Session;
use crate::args::{CompactionArgs, DelArgs, GetArgs, PutArgs, RangeArgs, bytes};
use crate::failure::Failure;
use crate::output::{self, Format, Listing, ValueStyle};

pub(crate) async fn put(session: &Session, mut args: PutArgs) -> Result<(), Failure> {
    if args.value.is_none() && !args.ignore_value {
        let mut typed = Vec::new();
        std::io::stdin().read_to_end(&mut typed).map_err(|error| Failure::file("cannot read the value", &error))?;
        args.value = Some(std::os::unix::ffi::OsStringExt::from_vec(typed));
    }
    let answer = put_of(args)?.with(&session.client).await?;
    session.printer.show(&answer)
}

pub(crate) fn put_of(args: PutArgs) -> Result<Put, Failure> {
    if args.ignore_value && args.value.is_some() {
        return Err(Failure::args("put command needs only 1 argument when 'ignore-value' is set; leave the value out"));
    }
    if args.value.is_none() && !args.ignore_value {
        return Err(Failure::args("put command needs a key and a value"));
    }
    let mut put = Put::new(bytes(args.key), args.value.map(bytes).unwrap_or_default());
    if let Some(lease) = args.lease {
        put = put.lease(lease_id(&lease)?);
    }
    if args.prev_kv {
        put = put.prev_kv();
    }
    if args.ignore_value {
        put = put.ignore_value();
    }
    if args.ignore_lease {
        put = put.ignore_lease();
    }
    Ok(put)
}

pub(crate) async fn get(session: &Session, args: GetArgs) -> Result<(), Failure> {
    if args.print_value_only && args.keys_only {
        return Err(Failure::args("cannot set both `--print-value-only` and `--keys-only`, choose one"));
    }
    if args.print_value_only && session.globals.write_out != Format::Simple {
        return Err(Failure::args("print-value-only is only for `--write-out=simple`"));
    }
    let style = match (args.print_value_only, args.count_only) {
        (_, true) => ValueStyle::Count,
        (true, false) => ValueStyle::Values,
        (false, false) => ValueStyle::Pairs,
    };
    let answer = get_of(args)?.with(&session.client).await?;
    session.printer.show(&Listing { answer, style })
}

pub(crate) fn get_of(args: GetArgs) -> Result<Get, Failure> {
    let range = args.range;
    check_range(&range)?;
    let mut get = Get::new(bytes(range.key)).revision(args.rev).limit(args.limit);
    if range.prefix {
        get = get.prefix();
    } else if range.from_key {
        get = get.onward();
    } else if let Some(end) = range.range_end {
        get = get.range(bytes(end));
    }
    get = match args.consistency.as_str() {
        "l" => get,
        "s" => get.serializable(),
        other => return Err(Failure::feature(format!("unknown consistency flag {other:?}; give l or s"))),
    };
    if !args.order.is_empty() || !args.sort_by.is_empty() {
        get = get.sort(sort_by(&args.sort_by)?, order(&args.order)?);
    }
    if args.keys_only {
        get = get.keys_only();
    }
    if args.count_only {
        get = get.count_only();
    }
    Ok(get)
}

fn order(typed: &str) -> Result<Order, Failure> {
    match typed.to_ascii_uppercase().as_str() {
        "" | "ASCEND" => Ok(Order::Ascending),
        "DESCEND" => Ok(Order::Descending),
        _ => Err(Failure::feature(format!("bad sort order {typed}; give ASCEND or DESCEND"))),
    }
}

fn sort_by(typed: &str) -> Result<SortBy, Failure> {
    match typed.to_ascii_uppercase().as_str() {
        "" | "KEY" => Ok(SortBy::Key),
        "CREATE" => Ok(SortBy::CreateRevision),
        "MODIFY" => Ok(SortBy::ModRevision),
        "VALUE" => Ok(SortBy::Value),
        "VERSION" => Ok(SortBy::Version),
        _ => Err(Failure::feature(format!("bad sort target {typed}; give CREATE, KEY, MODIFY, VALUE or VERSION"))),
    }
}

pub(crate) async fn del(session: &Session, args: DelArgs) -> Result<(), Failure> {
    let answer = del_of(args)?.with(&session.client).await?;
    session.printer.show(&answer)
}

pub(crate) fn del_of(args: DelArgs) -> Result<Delete, Failure> {
    let range = args.range;
    check_range(&range)?;
    let mut delete = Delete::new(bytes(range.key));
    if range.prefix {
        delete = delete.prefix();
    } else if range.from_key {
        delete = delete.onward();
    } else if let Some(end) = range.range_end {
        delete = delete.range(bytes(end));
    }
    Ok(if args.prev_kv { delete.prev_kv() } else { delete })
}

fn check_range(range: &RangeArgs) -> Result<(), Failure> {
    if range.prefix && range.from_key {
        return Err(Failure::args("`--prefix` and `--from-key` cannot be set at the same time, choose one"));
    }
    if (range.prefix || range.from_key) && range.range_end.is_some() {
        let message = "too many arguments, only accept one argument when `--prefix` or `--from-key` is set";
        return Err(Failure::args(message));
    }
    Ok(())
}

pub(crate) async fn compaction(session: &Session, args: CompactionArgs) -> Result<(), Failure> {
    let compact = session.client.compact(args.revision);
    let compact = if args.physical { compact.physical() } else { compact };
    compact.await?;
    output::line(&format!("compacted revision {}", args.revision))
}

/// A lease's id as it is shown: hexadecimal.
pub(crate) fn lease_id(typed: &str) -> Result<i64, Failure> {
    i64::from_str_radix(typed, 16).map_err(|_| Failure::args(format!("bad lease ID {typed:?}, expecting ID in Hex")))
}

//! Reading the keys of JSON web tokens.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::StartError;
use crate::auth::{Jwt, TokenSettings, Tokens};
use crate::env::{Disk, OpenMode};
use crate::io::Io;
use crate::rt;

/// No key is larger, in bytes.
const KEY_BYTES_MAX: u64 = 64 * 1024;

pub async fn read(settings: &TokenSettings, io: &Io) -> Result<Tokens, StartError> {
    match settings {
        TokenSettings::Simple { ttl } => Ok(Tokens::Simple { ttl: *ttl }),
        TokenSettings::Jwt { method, public_key, private_key, ttl } => {
            let public = read_key(io, public_key.clone()).await?;
            let private = read_key(io, private_key.clone()).await?;
            let jwt = Jwt::new(method, public.as_deref(), private.as_deref(), *ttl).map_err(StartError::TokenKeys)?;
            Ok(Tokens::Jwt(Arc::new(jwt)))
        }
    }
}

async fn read_key(io: &Io, path: Option<PathBuf>) -> Result<Option<Vec<u8>>, StartError> {
    let Some(path) = path else { return Ok(None) };
    let (disk, shown) = (Arc::clone(&io.disk), path.clone());
    let read = rt::blocking(move || read_file(disk.as_ref(), &path)).await.and_then(|read| read);
    read.map(Some).map_err(|source| StartError::TokenKeyFile { path: shown, source })
}

fn read_file(disk: &dyn Disk, path: &Path) -> std::io::Result<Vec<u8>> {
    let file = disk.open(path, OpenMode::Read)?;
    let length = file.len()?;
    if length > KEY_BYTES_MAX {
        return Err(std::io::Error::other(format!("no key has more than {KEY_BYTES_MAX} bytes")));
    }
    let mut bytes = vec![0; usize::try_from(length).unwrap_or(0)];
    file.read_exact_at(&mut bytes, 0)?;
    Ok(bytes)
}

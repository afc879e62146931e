//! The files of one port as they are at one moment: what is built from them and what is compared is the same.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use super::TlsError;
use crate::env::{Disk, OpenMode};
use crate::types::{KeyPairFiles, OwnCertificate, PortTls};

/// No certificate, bundle or list of revoked ones is larger, in bytes.
const FILE_BYTES_MAX: u64 = 16 * 1024 * 1024;

/// Contents by path, or why there are none.
#[derive(Debug)]
pub struct Files {
    contents: BTreeMap<PathBuf, Result<Vec<u8>, String>>,
}

/// Tells contents apart without keeping them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fingerprint(pub(super) [u8; 32]);

/// Every file that `port` names.
pub fn paths(port: &PortTls) -> Vec<PathBuf> {
    let own = match &port.own {
        OwnCertificate::Files(pair) => Some(pair),
        OwnCertificate::None | OwnCertificate::SelfSigned => None,
    };
    let pairs = own.into_iter().chain(&port.as_client);
    let of_pairs = pairs.flat_map(|KeyPairFiles { certificate, key }| [certificate.clone(), key.clone()]);
    of_pairs.chain(port.trusted_ca_file.clone()).chain(port.crl_file.clone()).collect()
}

impl Files {
    /// Reads all of them. Blocks.
    pub fn read(disk: &dyn Disk, paths: &[PathBuf]) -> Self {
        let contents = paths.iter().map(|path| (path.clone(), read(disk, path))).collect();
        Self { contents }
    }

    pub fn bytes(&self, file: &Path) -> Result<&[u8], TlsError> {
        match self.contents.get(file) {
            Some(Ok(bytes)) => Ok(bytes),
            Some(Err(reason)) => Err(TlsError::Unreadable { file: file.to_owned(), reason: reason.clone() }),
            None => Err(TlsError::Unreadable { file: file.to_owned(), reason: "it was not asked for".to_owned() }),
        }
    }

    pub fn fingerprint(&self) -> Fingerprint {
        let mut hash = Sha256::new();
        for (path, contents) in &self.contents {
            let (kind, bytes) = match contents {
                Ok(bytes) => (1_u8, bytes.as_slice()),
                Err(reason) => (0_u8, reason.as_bytes()),
            };
            hash.update(path.as_os_str().as_encoded_bytes());
            hash.update([0, kind]);
            hash.update(u64::try_from(bytes.len()).unwrap_or(u64::MAX).to_le_bytes());
            hash.update(bytes);
        }
        Fingerprint(hash.finalize().into())
    }
}

fn read(disk: &dyn Disk, path: &Path) -> Result<Vec<u8>, String> {
    let read = || -> std::io::Result<Option<Vec<u8>>> {
        let file = disk.open(path, OpenMode::Read)?;
        let length = file.len()?;
        if length > FILE_BYTES_MAX {
            return Ok(None);
        }
        let mut bytes = vec![0; usize::try_from(length).unwrap_or(0)];
        file.read_exact_at(&mut bytes, 0)?;
        Ok(Some(bytes))
    };
    match read() {
        Ok(Some(bytes)) => Ok(bytes),
        Ok(None) => Err(format!("it has more than {FILE_BYTES_MAX} bytes")),
        Err(error) => Err(error.to_string()),
    }
}

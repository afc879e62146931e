//! The keys of JSON web tokens, in the forms in which etcd takes them: PEM files with a public key, a certificate, or a
//! private key in PKCS#1, PKCS#8 or SEC 1. With a private key alone, tokens are checked with the public half of it.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey};
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING};
use ring::signature::{EcdsaKeyPair, EcdsaSigningAlgorithm, Ed25519KeyPair, KeyPair as _};

use super::jwt::JwtError;

/// What signs, if anything does, and what checks.
pub(super) struct Keys {
    pub sign: Option<EncodingKey>,
    pub check: DecodingKey,
}

/// Object identifiers, with their tag and length: an elliptic curve's key, and the two curves.
const EC_KEY: [u8; 9] = [0x06, 0x07, 0x2A, 0x86, 0x48, 0xCE, 0x3D, 0x02, 0x01];
const P256: [u8; 10] = [0x06, 0x08, 0x2A, 0x86, 0x48, 0xCE, 0x3D, 0x03, 0x01, 0x07];
const P384: [u8; 7] = [0x06, 0x05, 0x2B, 0x81, 0x04, 0x00, 0x22];
/// DER: a version of 0, and the tags of a sequence and of a string of bytes.
const VERSION_0: [u8; 3] = [0x02, 0x01, 0x00];
const SEQUENCE: u8 = 0x30;
const OCTETS: u8 = 0x04;

pub(super) fn rsa(public: Option<&[u8]>, private: Option<&[u8]>, method: &str) -> Result<Keys, JwtError> {
    let unreadable = |what| move |error: jsonwebtoken::errors::Error| JwtError::key(what, method, &error);
    let sign = private.map(EncodingKey::from_rsa_pem).transpose().map_err(unreadable("priv-key"))?;
    let check = match (public, private) {
        (Some(public), _) => DecodingKey::from_rsa_pem(public).map_err(unreadable("pub-key"))?,
        (None, Some(private)) => {
            let pair = pem(private).and_then(|(label, der)| match label.as_str() {
                "RSA PRIVATE KEY" => ring::rsa::KeyPair::from_der(&der).ok(),
                _ => ring::rsa::KeyPair::from_pkcs8(&der).ok(),
            });
            let pair = pair.ok_or_else(|| JwtError::key("priv-key", method, &"it has no public half"))?;
            DecodingKey::from_rsa_der(pair.public_key().as_ref())
        }
        (None, None) => return Err(JwtError::Missing("pub-key or priv-key is needed to check tokens")),
    };
    Ok(Keys { sign, check })
}

pub(super) fn elliptic(
    algorithm: Algorithm,
    public: Option<&[u8]>,
    private: Option<&[u8]>,
    method: &str,
) -> Result<Keys, JwtError> {
    let (curve, signing): (&[u8], &'static EcdsaSigningAlgorithm) = match algorithm {
        Algorithm::ES384 => (&P384, &ECDSA_P384_SHA384_FIXED_SIGNING),
        _ => (&P256, &ECDSA_P256_SHA256_FIXED_SIGNING),
    };
    let private = private
        .map(|private| {
            let (label, der) = pem(private).ok_or_else(|| JwtError::key("priv-key", method, &"it is no PEM file"))?;
            let der = if label == "EC PRIVATE KEY" { pkcs8(curve, &der) } else { der };
            EcdsaKeyPair::from_pkcs8(signing, &der, &SystemRandom::new())
                .map(|pair| (pair, der))
                .map_err(|error| JwtError::key("priv-key", method, &error))
        })
        .transpose()?;
    let check = match (public, &private) {
        (Some(public), _) => {
            DecodingKey::from_ec_pem(public).map_err(|error| JwtError::key("pub-key", method, &error))?
        }
        (None, Some((pair, _))) => DecodingKey::from_ec_der(pair.public_key().as_ref()),
        (None, None) => return Err(JwtError::Missing("pub-key or priv-key is needed to check tokens")),
    };
    Ok(Keys { sign: private.map(|(_, der)| EncodingKey::from_ec_der(&der)), check })
}

/// Ed25519: the private key in PKCS#8, the public one in its usual form.
pub(super) fn edwards(public: Option<&[u8]>, private: Option<&[u8]>, method: &str) -> Result<Keys, JwtError> {
    let private = private
        .map(|private| {
            let (_, der) = pem(private).ok_or_else(|| JwtError::key("priv-key", method, &"it is no PEM file"))?;
            Ed25519KeyPair::from_pkcs8_maybe_unchecked(&der)
                .map(|pair| (pair, der))
                .map_err(|error| JwtError::key("priv-key", method, &error))
        })
        .transpose()?;
    let check = match (public, &private) {
        (Some(public), _) => {
            DecodingKey::from_ed_pem(public).map_err(|error| JwtError::key("pub-key", method, &error))?
        }
        (None, Some((pair, _))) => DecodingKey::from_ed_der(pair.public_key().as_ref()),
        (None, None) => return Err(JwtError::Missing("pub-key or priv-key is needed to check tokens")),
    };
    Ok(Keys { sign: private.map(|(_, der)| EncodingKey::from_ed_der(&der)), check })
}

/// The label and the bytes of the first block of a PEM file.
fn pem(text: &[u8]) -> Option<(String, Vec<u8>)> {
    let text = std::str::from_utf8(text).ok()?;
    let (_, rest) = text.split_once("-----BEGIN ")?;
    let (label, rest) = rest.split_once("-----")?;
    let (body, _) = rest.split_once("-----END ")?;
    let base64: String = body.split_whitespace().collect();
    Some((label.to_owned(), STANDARD.decode(base64).ok()?))
}

/// A key in SEC 1, which does not say which curve it lies on, put into PKCS#8, which does.
fn pkcs8(curve: &[u8], sec1: &[u8]) -> Vec<u8> {
    let algorithm = der(SEQUENCE, &[&EC_KEY, curve].concat());
    der(SEQUENCE, &[VERSION_0.as_slice(), &algorithm, &der(OCTETS, sec1)].concat())
}

/// A value of DER's. Keys are shorter than 64 KiB.
fn der(tag: u8, value: &[u8]) -> Vec<u8> {
    let length = u16::try_from(value.len()).unwrap_or(u16::MAX).to_be_bytes();
    let head: &[u8] = match length {
        [0, short @ 0..=0x7F] => &[tag, short],
        [0, medium] => &[tag, 0x81, medium],
        [high, low] => &[tag, 0x82, high, low],
    };
    [head, value].concat()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::jwt::Jwt;
    use super::*;

    fn to_pem(label: &str, der: &[u8]) -> Vec<u8> {
        format!("-----BEGIN {label}-----\n{}\n-----END {label}-----\n", STANDARD.encode(der)).into_bytes()
    }

    /// A new key in PKCS#8, and the SEC 1 key inside of it.
    fn generated(signing: &'static EcdsaSigningAlgorithm) -> (Vec<u8>, Vec<u8>) {
        let whole = EcdsaKeyPair::generate_pkcs8(signing, &SystemRandom::new()).unwrap().as_ref().to_vec();
        let inner = whole.windows(5).position(|bytes| bytes[0] == SEQUENCE && bytes[2..] == [0x02, 0x01, 0x01]);
        let inner =
            inner.or_else(|| whole.windows(6).position(|at| at[0] == SEQUENCE && at[3..] == [0x02, 0x01, 0x01]));
        let sec1 = whole[inner.unwrap()..].to_vec();
        (whole, sec1)
    }

    fn is_accepted(by: &Jwt, from: &Jwt) -> bool {
        by.verified(&from.issue("ann", 7, 1_000).unwrap(), 2_000) == Some(("ann".to_owned(), 7))
    }

    #[test]
    fn a_private_key_alone_is_enough_in_either_form() {
        for (method, signing) in
            [("ES256", &ECDSA_P256_SHA256_FIXED_SIGNING), ("ES384", &ECDSA_P384_SHA384_FIXED_SIGNING)]
        {
            let (whole, sec1) = generated(signing);
            let with = |pem: &[u8]| Jwt::new(method, None, Some(pem), Duration::from_secs(60)).unwrap();
            let (one, other) = (with(&to_pem("PRIVATE KEY", &whole)), with(&to_pem("EC PRIVATE KEY", &sec1)));
            assert!(is_accepted(&one, &one) && is_accepted(&one, &other) && is_accepted(&other, &one), "{method}");
        }
    }

    #[test]
    fn keys_that_are_no_pair_are_refused() {
        let signing = &ECDSA_P256_SHA256_FIXED_SIGNING;
        let (mine, others) = (generated(signing).0, generated(signing).0);
        let pair = EcdsaKeyPair::from_pkcs8(signing, &others, &SystemRandom::new()).unwrap();
        // A public key in its usual form: the algorithm, then the point as a string of bits.
        let bits = der(0x03, &[&[0], pair.public_key().as_ref()].concat());
        let public = der(SEQUENCE, &[der(SEQUENCE, &[EC_KEY.as_slice(), &P256].concat()), bits].concat());
        let public = to_pem("PUBLIC KEY", &public);
        let jwt = |private: &[u8]| {
            Jwt::new("ES256", Some(&public), Some(&to_pem("PRIVATE KEY", private)), Duration::from_secs(60))
        };
        assert!(jwt(&others).is_ok());
        assert_eq!(jwt(&mine).unwrap_err(), JwtError::NoPair);
    }

    /// The key pair is what `openssl genpkey -algorithm ed25519` writes (RFC 8410); the public half alone checks.
    #[test]
    fn an_edwards_key_signs_and_its_public_half_checks() {
        let seed = |byte: u8| {
            let mut key =
                vec![0x30, 0x2E, 0x02, 0x01, 0x00, 0x30, 0x05, 0x06, 0x03, 0x2B, 0x65, 0x70, 0x04, 0x22, 4, 32];
            key.extend([byte; 32]);
            key
        };
        let pair = Ed25519KeyPair::from_pkcs8_maybe_unchecked(&seed(1)).unwrap();
        let mut public = vec![0x30, 0x2A, 0x30, 0x05, 0x06, 0x03, 0x2B, 0x65, 0x70, 0x03, 0x21, 0x00];
        public.extend_from_slice(pair.public_key().as_ref());
        let public = to_pem("PUBLIC KEY", &public);
        let private = |byte: u8| to_pem("PRIVATE KEY", &seed(byte));
        let jwt =
            |public: Option<&[u8]>, private: Option<&[u8]>| Jwt::new("EdDSA", public, private, Duration::from_secs(60));
        let alone = jwt(None, Some(&private(1))).unwrap();
        let whole = jwt(Some(&public), Some(&private(1))).unwrap();
        let checks = jwt(Some(&public), None).unwrap();
        assert!(is_accepted(&alone, &whole) && is_accepted(&whole, &alone) && is_accepted(&checks, &alone));
        assert!(!is_accepted(&checks, &jwt(None, Some(&private(2))).unwrap()));
        assert_eq!(checks.issue("ann", 7, 1_000), None);
        assert_eq!(jwt(Some(&public), Some(&private(2))).unwrap_err(), JwtError::NoPair);
        assert!(jwt(None, None).is_err() && jwt(None, Some(b"nonsense")).is_err());
    }

    #[test]
    fn lengths_are_written_as_der_wants_them() {
        for (length, head) in [(5, vec![4, 5]), (200, vec![4, 0x81, 200]), (300, vec![4, 0x82, 1, 44])] {
            assert!(der(OCTETS, &vec![0; length]).starts_with(&head), "{length}");
        }
    }
}

//! Which servers are trusted.
//!
//! Invariant: the system's certificates and the given ones, nothing else; `ring` does the arithmetic.

use std::path::Path;
use std::sync::Arc;

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use rustls::{ClientConfig, RootCertStore};

use super::settings::StardustError;

/// Trust in the system's certificates and those of `ca_file` (PEM).
pub(super) fn trust(ca_file: Option<&Path>) -> Result<ClientConfig, StardustError> {
    let mut roots = RootCertStore::empty();
    let (system, _) = roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if let Some(path) = ca_file {
        add(&mut roots, path).map_err(|why| StardustError::Ca { path: path.to_owned(), why })?;
    }
    tracing::debug!(system, all = roots.len(), "trusted certificates");
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| StardustError::Client(error.to_string()))?;
    Ok(builder.with_root_certificates(roots).with_no_client_auth())
}

fn add(roots: &mut RootCertStore, path: &Path) -> Result<(), String> {
    let certificates = CertificateDer::pem_file_iter(path)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(|error| error.to_string())?;
    if certificates.is_empty() {
        return Err("there is no PEM certificate in it".to_owned());
    }
    certificates
        .into_iter()
        .try_for_each(|certificate| roots.add(certificate))
        .map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ca_file_must_hold_certificates() {
        let dir = tempfile::tempdir().expect("a directory");
        let file = dir.path().join("ca.pem");
        assert!(trust(Some(&file)).expect_err("no file").to_string().contains("ca.pem"));
        std::fs::write(&file, "hello").expect("written");
        assert!(trust(Some(&file)).expect_err("no PEM").to_string().contains("no PEM certificate"));
        assert!(trust(None).is_ok());
    }
}

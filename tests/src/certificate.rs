//! The certificate of every TLS server of a test program: for `localhost` and 127.0.0.1, signed by itself.

use std::fs;
use std::path::Path;
use std::sync::{Arc, OnceLock};

use anyhow::Context as _;
use rustls::pki_types::CertificateDer;
use rustls::{ClientConfig, RootCertStore};

/// Certificate and key.
#[derive(Debug)]
pub struct Certificate {
    pem: String,
    key_pem: String,
    der: CertificateDer<'static>,
}

/// The one of this program.
pub fn certificate() -> anyhow::Result<&'static Certificate> {
    static ONE: OnceLock<Certificate> = OnceLock::new();
    if let Some(known) = ONE.get() {
        return Ok(known);
    }
    let names = ["localhost".to_owned(), "127.0.0.1".to_owned()];
    let made = rcgen::generate_simple_self_signed(names).context("make a certificate")?;
    let (pem, key_pem) = (made.cert.pem(), made.signing_key.serialize_pem());
    Ok(ONE.get_or_init(|| Certificate { pem, key_pem, der: made.cert.der().clone() }))
}

impl Certificate {
    /// Writes `cert.pem` and `key.pem` into a folder.
    pub fn write(&self, folder: &Path) -> anyhow::Result<()> {
        fs::write(folder.join("cert.pem"), &self.pem).context("write the certificate")?;
        fs::write(folder.join("key.pem"), &self.key_pem).context("write the key")
    }

    /// For a client that trusts it and nothing else.
    pub fn client(&self) -> anyhow::Result<Arc<ClientConfig>> {
        let mut roots = RootCertStore::empty();
        roots.add(self.der.clone()).context("trust the certificate")?;
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
        Ok(Arc::new(builder.with_root_certificates(roots).with_no_client_auth()))
    }
}

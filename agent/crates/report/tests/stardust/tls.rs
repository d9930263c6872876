//! HTTPS: who is trusted, and what that allows.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use rcgen::{CertifiedKey, generate_simple_self_signed};
use report::stardust::Settings;
use rustls::ServerConfig;
use rustls::pki_types::PrivateKeyDer;
use tempfile::TempDir;
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

use crate::rig::{Rig, process, settings, until};
use crate::stand::{Stand, no};

/// A server of TLS before a stand; its certificate is its own authority.
struct Front {
    url: String,
    ca_file: PathBuf,
    _dir: TempDir,
}

async fn front(stand: &Stand) -> Front {
    let CertifiedKey { cert, signing_key } =
        generate_simple_self_signed(["localhost".to_owned()]).expect("a certificate");
    let dir = tempfile::tempdir().expect("a directory");
    let ca_file = dir.path().join("ca.pem");
    std::fs::write(&ca_file, cert.pem()).expect("written");
    let key = PrivateKeyDer::try_from(signing_key.serialize_der()).expect("a key");
    let config = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_no_client_auth()
        .with_single_cert(vec![cert.der().clone()], key)
        .expect("a configuration");
    let listener = TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], 0))).await.expect("a free port");
    let url = format!("https://localhost:{}", listener.local_addr().expect("an address").port());
    let behind = stand.url.trim_start_matches("http://").to_owned();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    tokio::spawn(async move {
        while let Ok((socket, _)) = listener.accept().await {
            let (acceptor, behind) = (acceptor.clone(), behind.clone());
            tokio::spawn(async move {
                let mut inner = TcpStream::connect(behind).await.expect("the stand");
                if let Ok(mut outer) = acceptor.accept(socket).await {
                    let _ = tokio::io::copy_bidirectional(&mut outer, &mut inner).await;
                }
            });
        }
    });
    Front { url, ca_file, _dir: dir }
}

#[tokio::test]
async fn a_given_authority_is_trusted_for_calls_and_push() {
    // Over HTTPS the secret may go as it is, without being told.
    let stand = Stand::start(|call, before| (call.is("/App/Login") && before == 0).then(|| no(401))).await;
    let front = front(&stand).await;
    let rig = Rig::with(Settings { ca_file: Some(front.ca_file.clone()), ..settings(&[&front.url]) });
    rig.hit(&process(11));
    stand.wait_nth("/Trace/ReportRaw", 1).await;
    stand.wait_nth("channel opened", 1).await;
    let secrets: Vec<_> =
        stand.calls_of("/App/Login").iter().map(|login| login.body["Secret"].clone()).collect();
    assert!(secrets[0].as_str().is_some_and(|secret| secret.starts_with("$md5$")));
    assert_eq!(secrets[1..], ["MySecret"]);
    assert_eq!(rig.stop().await.reported, 1);
}

#[tokio::test]
async fn others_are_not_trusted() {
    let stand = Stand::start(|_, _| None).await;
    let front = front(&stand).await;
    let rig = Rig::with(Settings { queue_batches: 0, ..settings(&[&front.url]) });
    rig.hit(&process(11));
    until("given up", || rig.dropped() == 1).await;
    assert!(stand.calls().is_empty());
    rig.stop().await;
}

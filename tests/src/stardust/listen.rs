//! The listener: connections, TLS, and the ways a server can be away.
//!
//! Invariant: a change of mode ends every connection, and the port stays taken all the time.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use axum::Router;
use axum::body::Body;
use axum::http::{Request, Response, StatusCode, Uri};
use axum::response::IntoResponse as _;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpSocket};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;
use tower::ServiceExt as _;

use super::Mode;
use super::answer::Remote;

/// Connections that may wait to be accepted.
pub const BACKLOG: u32 = 1024;

/// A socket that holds the port without listening: who connects is refused.
pub fn hold(address: SocketAddr) -> anyhow::Result<TcpSocket> {
    let socket =
        if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }.context("make a socket")?;
    socket.set_reuseaddr(true).context("set SO_REUSEADDR")?;
    socket.bind(address).with_context(|| format!("bind {address}"))?;
    Ok(socket)
}

/// Serves until the mode is [`Mode::Stopped`] or its sender is gone. `entered` hears of each mode once it holds.
pub async fn run(
    listener: TcpListener,
    tls: Option<TlsAcceptor>,
    router: Router,
    mut mode: watch::Receiver<Mode>,
    entered: impl Fn(Mode),
) -> anyhow::Result<()> {
    let address = listener.local_addr().context("read the bound address")?;
    let mut listener = Some(listener);
    loop {
        let current = *mode.borrow_and_update();
        match current {
            Mode::Stopped => return Ok(()),
            Mode::Refusing => {
                drop(listener.take());
                let _held = hold(address)?;
                entered(current);
                if mode.changed().await.is_err() {
                    return Ok(());
                }
            }
            Mode::Serving | Mode::Hanging | Mode::Failing => {
                let open = match listener.take() {
                    Some(open) => open,
                    None => hold(address)?.listen(BACKLOG).context("listen")?,
                };
                entered(current);
                serve(&open, tls.as_ref(), &router, current, &mut mode).await;
                listener = Some(open);
            }
        }
    }
}

async fn serve(
    listener: &TcpListener,
    tls: Option<&TlsAcceptor>,
    router: &Router,
    current: Mode,
    mode: &mut watch::Receiver<Mode>,
) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                let Ok((stream, peer)) = accepted else { continue };
                let (tls, router) = (tls.cloned(), router.clone());
                connections.spawn(async move {
                    match tls {
                        None => converse(stream, peer, router, current).await,
                        Some(tls) => {
                            if let Ok(stream) = tls.accept(stream).await {
                                converse(stream, peer, router, current).await;
                            }
                        }
                    }
                });
            }
            _ = connections.join_next(), if !connections.is_empty() => {}
            _ = mode.changed() => return,
        }
    }
}

async fn converse<S>(stream: S, peer: SocketAddr, router: Router, mode: Mode)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let service = service_fn(move |request: Request<Incoming>| {
        let router = router.clone();
        async move { Ok::<_, Infallible>(respond(router, request, peer, mode).await) }
    });
    // A connection that breaks is its client's affair.
    let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).with_upgrades().await;
}

async fn respond(router: Router, request: Request<Incoming>, peer: SocketAddr, mode: Mode) -> Response<Body> {
    match mode {
        Mode::Hanging => {
            tokio::time::sleep(Duration::from_hours(1)).await;
            StatusCode::SERVICE_UNAVAILABLE.into_response()
        }
        Mode::Failing => (StatusCode::INTERNAL_SERVER_ERROR, "out of order").into_response(),
        Mode::Serving | Mode::Refusing | Mode::Stopped => {
            let (mut parts, body) = request.into_parts();
            parts.uri = lower_path(&parts.uri);
            parts.extensions.insert(Remote(peer));
            let request = Request::from_parts(parts, Body::new(body));
            router.oneshot(request).await.unwrap_or_else(|never| match never {})
        }
    }
}

/// Paths are the same in any case.
fn lower_path(uri: &Uri) -> Uri {
    let path = uri.path().to_lowercase();
    let text = uri.query().map_or_else(|| path.clone(), |query| format!("{path}?{query}"));
    text.parse().unwrap_or_else(|_| uri.clone())
}

/// A CA made for the occasion: its certificate in PEM, and an acceptor with a certificate of it for this host.
pub fn make_tls(names: &[String]) -> anyhow::Result<(String, TlsAcceptor)> {
    let mut ca = rcgen::CertificateParams::new(Vec::new()).context("describe the CA")?;
    ca.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let ca_key = rcgen::KeyPair::generate().context("make the CA's key")?;
    let ca_pem = ca.self_signed(&ca_key).context("sign the CA")?.pem();
    let issuer = rcgen::Issuer::new(ca, ca_key);
    let key = rcgen::KeyPair::generate().context("make the server's key")?;
    let certificate = rcgen::CertificateParams::new(names)
        .and_then(|params| params.signed_by(&key, &issuer))
        .context("sign the server's certificate")?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let key = rustls::pki_types::PrivateKeyDer::try_from(key.serialize_der()).map_err(anyhow::Error::msg)?;
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .context("choose TLS versions")?
        .with_no_client_auth()
        .with_single_cert(vec![certificate.der().clone()], key)
        .context("use the server's certificate")?;
    Ok((ca_pem, TlsAcceptor::from(Arc::new(config))))
}

//! The notify socket: text `Ping` is answered with `Pong`, commands go out as text frames.
//!
//! Invariant: a session (`app@client`) has one socket; a second one replaces the first.

use std::sync::Arc;

use axum::extract::ws::rejection::WebSocketUpgradeRejection;
use axum::extract::ws::{Message, WebSocket, WebSocketUpgrade};
use axum::extract::{FromRequestParts as _, Request};
use axum::response::{IntoResponse as _, Response};
use tokio::sync::mpsc::unbounded_channel;
use tokio::sync::watch;

use super::Mode;
use super::answer::{Call, Refusal};
use super::journal::Record;
use super::session::enter;
use super::state::Shared;
use super::token::Claims;

/// `GET /App/Notify`: without a good token no upgrade, without an upgrade HTTP 400.
pub async fn notify(shared: Arc<Shared>, mode: watch::Receiver<Mode>, request: Request) -> Response {
    let (mut parts, body) = request.into_parts();
    let upgrade: Result<WebSocketUpgrade, WebSocketUpgradeRejection> =
        WebSocketUpgrade::from_request_parts(&mut parts, &()).await;
    let call =
        match <Call as axum::extract::FromRequest<()>>::from_request(Request::from_parts(parts, body), &())
            .await
        {
            Ok(call) => call,
            Err(response) => return response,
        };
    let entered = enter(&shared, &mut shared.state.lock(), &call);
    match (entered, upgrade) {
        (Err(refusal), _) => refusal.into_response(),
        (Ok(_), Err(_)) => Refusal::Unbound("upgrade".to_owned()).into_response(),
        (Ok(claims), Ok(upgrade)) => upgrade.on_upgrade(move |socket| converse(shared, mode, claims, socket)),
    }
}

async fn converse(
    shared: Arc<Shared>,
    mut mode: watch::Receiver<Mode>,
    claims: Claims,
    mut socket: WebSocket,
) {
    let session = format!("{}@{}", claims.app, claims.client_id);
    let (sender, mut outgoing) = unbounded_channel::<String>();
    {
        let mut state = shared.state.lock();
        state.sockets.insert(session.clone(), sender.clone());
        shared.seen(&mut state, &claims.client_id, &claims.app).long_link = true;
        shared.record(&mut state, Record::SocketOpened(session.clone()));
    }
    let own = sender.downgrade();
    drop(sender);
    loop {
        tokio::select! {
            text = outgoing.recv() => {
                let Some(text) = text else { break };
                if socket.send(Message::text(text)).await.is_err() { break }
            }
            message = socket.recv() => match message {
                Some(Ok(Message::Text(text))) => {
                    let text = text.to_string();
                    let is_ping = text == "Ping";
                    shared.record(&mut shared.state.lock(), Record::SocketText(session.clone(), text));
                    if is_ping && socket.send(Message::text("Pong")).await.is_err() { break }
                }
                Some(Ok(Message::Close(_)) | Err(_)) | None => break,
                Some(Ok(_)) => {}
            },
            changed = mode.changed() => if changed.is_err() || *mode.borrow() != Mode::Serving { break },
        }
    }
    let mut state = shared.state.lock();
    let is_own = state
        .sockets
        .get(&session)
        .is_some_and(|current| own.upgrade().is_some_and(|own| own.same_channel(current)));
    if is_own {
        state.sockets.remove(&session);
        shared.seen(&mut state, &claims.client_id, &claims.app).long_link = false;
    }
    shared.record(&mut state, Record::SocketClosed(session));
}

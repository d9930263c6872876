//! The push channel: a WebSocket on which the server sends commands.
//!
//! Invariant: whatever comes, the channel is either alive or opened again, never both, and never in a tight loop.

use std::time::Duration;

use futures_util::{SinkExt as _, StreamExt as _};
use reqwest::Url;
use tokio::net::TcpStream;
use tokio::time::{Instant, MissedTickBehavior};
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::tungstenite::http::{HeaderValue, header};
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_tungstenite::{Connector, MaybeTlsStream, WebSocketStream, connect_async_tls_with_config};

use super::login::Token;
use super::servers::join;
use super::session::Session;

/// Commands are short.
const MESSAGE_BYTES: usize = 1 << 20;
/// Silence that means the channel is dead, if three periods are less.
const SILENCE: Duration = Duration::from_mins(3);

impl Session {
    /// Keeps the channel open. Never ends.
    pub(super) async fn listen_always(&self) {
        let timing = &self.shared.settings.timing;
        let mut failures = 0_u32;
        loop {
            self.logged_in().await;
            let began = Instant::now();
            let why = match self.listen().await {
                Ok(()) => "the server closed it".to_owned(),
                Err(why) => why,
            };
            failures = if began.elapsed() > timing.retry_max { 0 } else { failures.saturating_add(1) };
            let wait = timing.retry_step.saturating_mul(1 << failures.min(10)).min(timing.retry_max);
            tracing::debug!(
                app = self.app.id,
                client = self.client_id,
                why,
                ?wait,
                "the push channel is closed"
            );
            tokio::time::sleep(wait).await;
        }
    }

    async fn listen(&self) -> Result<(), String> {
        let token = self.token().await.map_err(|error| error.to_string())?;
        let mut channel = self.connect(&token).await?;
        let period = *self.ping_period.lock();
        let silence = SILENCE.max(period * 3);
        let mut ticks = tokio::time::interval(period);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut heard = Instant::now();
        loop {
            let message = tokio::select! {
                _ = ticks.tick() => {
                    channel.send(Message::text("Ping")).await.map_err(|error| error.to_string())?;
                    continue;
                }
                () = tokio::time::sleep_until(heard + silence) => return Err("the server went silent".to_owned()),
                message = channel.next() => message,
            };
            let text = match message {
                None | Some(Ok(Message::Close(_))) => return Ok(()),
                Some(Err(error)) => return Err(error.to_string()),
                Some(Ok(Message::Text(text))) => text,
                Some(Ok(_)) => continue,
            };
            heard = Instant::now();
            match text.as_str() {
                "Pong" => {}
                "Ping" => channel.send(Message::text("Pong")).await.map_err(|error| error.to_string())?,
                // Anything that is no JSON is of no concern here, such as the event bus's frames.
                frame => {
                    if let Ok(frame) = serde_json::from_str(frame) {
                        self.obey(&frame).await;
                    }
                }
            }
        }
    }

    async fn connect(&self, token: &Token) -> Result<WebSocketStream<MaybeTlsStream<TcpStream>>, String> {
        let url = channel_url(self.shared.servers.current());
        let mut request = url.as_str().into_client_request().map_err(|error| error.to_string())?;
        let bearer =
            HeaderValue::try_from(format!("Bearer {}", token.text)).map_err(|error| error.to_string())?;
        request.headers_mut().insert(header::AUTHORIZATION, bearer);
        let mut limits = WebSocketConfig::default();
        limits.max_message_size = Some(MESSAGE_BYTES);
        limits.max_frame_size = Some(MESSAGE_BYTES);
        let connector = Connector::Rustls(self.shared.servers.tls());
        let connecting = connect_async_tls_with_config(request, Some(limits), true, Some(connector));
        match tokio::time::timeout(self.shared.settings.timing.call, connecting).await {
            Err(_) => Err("no answer in time".to_owned()),
            Ok(Ok((channel, _))) => Ok(channel),
            Ok(Err(Error::Http(response))) => {
                // A token that the server does not take is answered with status 200 and a code.
                if matches!(response.status().as_u16(), 200 | 401) {
                    self.forget(token);
                }
                Err(format!("HTTP status {}", response.status()))
            }
            Ok(Err(error)) => Err(error.to_string()),
        }
    }
}

/// `ws://…/App/Notify` of `http://…`.
fn channel_url(base: &Url) -> String {
    let url = join(base, "/App/Notify").to_string();
    url.replacen("http", "ws", 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_channel_is_beside_the_calls() {
        for (base, expected) in
            [("http://http:6600", "ws://http:6600/App/Notify"), ("https://a/star", "wss://a/star/App/Notify")]
        {
            assert_eq!(channel_url(&Url::parse(base).expect("a URL")), expected);
        }
    }
}

//! Logging in and staying so.
//!
//! Invariant: one login at a time per process, never sooner than the last failure allows; a token is in memory only.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use serde_json::Value;
use tokio::time::Instant;

use super::envelope::CallError;
use super::fields::Fields;
use super::identity::Identity;
use super::ledger::now_ms;
use super::salt::salted;
use super::servers::Call;
use super::session::Session;
use super::settings::Secret;
use super::wire;

/// The server's own lifetime of a token, where it does not say.
const LIFETIME: Duration = Duration::from_hours(2);

/// What the server knows the session by.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Token {
    /// For the `Authorization` header only.
    pub text: Arc<str>,
    lifetime: Duration,
    renew_at: Instant,
}

/// How logging in went so far.
#[derive(Debug, Default)]
pub(super) struct LoginState {
    failures: u32,
    not_before: Option<Instant>,
}

/// Why there is no token.
enum Trouble {
    /// The call failed.
    Call(CallError),
    /// The app is there, but a person has to let it in.
    Waiting,
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

impl Token {
    /// The server renews a token in its last ten minutes, at a ping. This is for when that did not happen.
    fn new(text: &str, lifetime: Duration) -> Self {
        Self { text: text.into(), lifetime, renew_at: Instant::now() + lifetime.mul_f64(0.95) }
    }
}

impl Session {
    /// Waits for a token.
    pub(super) async fn logged_in(&self) {
        // It fails only when the sender is gone, and that is in `self`.
        let _ = self.token.subscribe().wait_for(Option::is_some).await;
    }

    /// The token; logs in if there is none.
    pub(super) async fn token(&self) -> Result<Token, CallError> {
        let current = self.token.borrow().clone();
        match current {
            Some(token) => Ok(token),
            None => self.log_in(None, false).await,
        }
    }

    /// The server does not take `token`.
    pub(super) fn forget(&self, token: &Token) {
        self.token.send_if_modified(|current| {
            let same = current.as_ref() == Some(token);
            if same {
                *current = None;
            }
            same
        });
    }

    /// The server renewed the token.
    pub(super) fn renewed(&self, text: &str) {
        let lifetime = self.token.borrow().as_ref().map_or(LIFETIME, |token| token.lifetime);
        self.token.send_replace(Some(Token::new(text, lifetime)));
    }

    /// Logs in whenever there is no token, and before it ends. Never ends.
    pub(super) async fn keep_login(&self) {
        let mut tokens = self.token.subscribe();
        loop {
            let current = tokens.borrow_and_update().clone();
            let done = match current {
                None => {
                    let alone = self.app.identity().secret.is_none();
                    let _turn = if alone { Some(self.app.registration.lock().await) } else { None };
                    self.log_in(None, false).await
                }
                Some(token) => tokio::select! {
                    () = tokio::time::sleep_until(token.renew_at) => self.log_in(Some(&token), false).await,
                    _ = tokens.changed() => Ok(token),
                },
            };
            if done.is_err() {
                let not_before = self.login.lock().await.not_before;
                tokio::time::sleep_until(not_before.unwrap_or_else(Instant::now)).await;
            }
        }
    }

    /// A token other than `old`. Without `force`, none is asked for until the last failure's wait is over.
    pub(super) async fn log_in(&self, old: Option<&Token>, force: bool) -> Result<Token, CallError> {
        let mut state = self.login.lock().await;
        if let Some(current) = self.token.borrow().as_ref().filter(|&current| Some(current) != old) {
            return Ok(current.clone());
        }
        if !force && state.not_before.is_some_and(|at| at > Instant::now()) {
            return Err(CallError::NoLogin);
        }
        match self.try_secrets().await {
            Ok(token) => {
                *state = LoginState::default();
                let (app, client) = (&self.app.id, &self.client_id);
                self.app.login_news.clear();
                tracing::debug!(app, client, "logged in to Stardust");
                self.token.send_replace(Some(token.clone()));
                Ok(token)
            }
            Err(trouble) => {
                let timing = &self.shared.settings.timing;
                state.failures = state.failures.saturating_add(1);
                let wait = match &trouble {
                    Trouble::Call(CallError::Away(_)) => {
                        quick(timing.retry_step, state.failures, timing.login_retry_max)
                    }
                    Trouble::Call(CallError::Api { code, .. }) if !matches!(code, 401 | 403) => {
                        quick(timing.retry_step, state.failures, timing.login_retry_max)
                    }
                    Trouble::Call(_) | Trouble::Waiting => timing.retry_slow,
                };
                state.not_before = Some(Instant::now() + wait);
                self.say(&trouble);
                Err(CallError::NoLogin)
            }
        }
    }

    /// Tells the server that the process reports no more.
    pub(super) async fn log_out(&self, reason: &'static str) {
        let current = self.token.borrow().clone();
        if let Some(token) = current {
            let call = Call::get("/App/Logout", "reason", reason);
            if let Err(error) = self.shared.servers.send(&call, Some(&token.text)).await {
                tracing::debug!(app = self.app.id, client = self.client_id, %error, "cannot log out");
            }
        }
    }

    /// The kept secret, then the configured one; each salted, then plain where that is allowed.
    async fn try_secrets(&self) -> Result<Token, Trouble> {
        let settings = &self.shared.settings;
        let kept = self.app.identity();
        let configured = Identity { code: self.app.id.clone(), secret: settings.secret.clone() };
        let plain_allowed = settings.allow_plain_secret || self.shared.servers.all_encrypted();
        let mut refusal = None;
        for identity in
            [Some(&kept), Some(&configured).filter(|&configured| *configured != kept)].into_iter().flatten()
        {
            for plain in [false, true] {
                if plain && (!plain_allowed || identity.secret.is_none()) {
                    continue;
                }
                let secret =
                    identity.secret.as_ref().map(Secret::expose).map(|secret| {
                        if plain { secret.to_owned() } else { salted(secret, now_ms() / 1000) }
                    });
                match self.post_login(&identity.code, secret.as_deref()).await {
                    Err(error @ CallError::Api { code: 401, .. }) => refusal = Some(error),
                    Err(error) => return Err(Trouble::Call(error)),
                    Ok(answer) => return self.admitted(&answer),
                }
            }
        }
        Err(refusal.map_or(Trouble::Waiting, Trouble::Call))
    }

    async fn post_login(&self, code: &str, secret: Option<&str>) -> Result<Value, CallError> {
        let login = wire::Login {
            app_id: code,
            code,
            secret,
            client_id: &self.client_id,
            app_name: &self.app.id,
            node_code: self.shared.settings.node_code.as_deref(),
            version: self.version.as_deref(),
            compile: wire::COMPILED_MS,
            ip: &self.shared.host.ips,
            time: now_ms(),
        };
        self.shared.servers.send(&Call::post("/App/Login", &login), None).await
    }

    fn admitted(&self, answer: &Value) -> Result<Token, Trouble> {
        let Some(fields) = Fields::of(answer) else {
            let why = "the answer to the login is no object".to_owned();
            return Err(Trouble::Call(CallError::Foreign(why)));
        };
        if let (Some(code), Some(secret)) = (fields.text("code"), fields.text("secret")) {
            let identity = Identity { code: code.to_owned(), secret: Some(Secret::new(secret)) };
            self.app.adopt(&identity, &self.shared);
        }
        if let Some(server_ms) = fields.int("serverTime").filter(|&ms| ms > 0) {
            self.clock_offset_ms.store(server_ms.saturating_sub(now_ms()), Ordering::Relaxed);
        }
        let expire_s = fields.int("expire").filter(|&s| s > 0).map(|s| s.min(365 * 86_400) as u64);
        let lifetime = expire_s.map_or(LIFETIME, Duration::from_secs);
        fields.text("token").map(|token| Token::new(token, lifetime)).ok_or(Trouble::Waiting)
    }

    fn say(&self, trouble: &Trouble) {
        let servers = self.shared.servers.shown();
        let text = match trouble {
            Trouble::Waiting => {
                "the app waits for approval: enable it in Stardust's application list".to_owned()
            }
            Trouble::Call(CallError::Foreign(why)) => format!(
                "{servers} is no Stardust server, or one older than July 2024 without App/Login, which is needed: \
                 check the address ({why})"
            ),
            Trouble::Call(CallError::Api { code: 401, message }) => {
                format!("the server refuses the app's secret: check the secret and both clocks ({message})")
            }
            Trouble::Call(CallError::Api { code: 403, message }) => {
                format!(
                    "the server does not admit the app: enable it in Stardust's application list ({message})"
                )
            }
            Trouble::Call(error) => format!("cannot log in to Stardust: {error}; trying again"),
        };
        if self.app.login_news.is_new(&text) {
            tracing::warn!(app = self.app.id, "{text}");
        }
    }
}

fn quick(step: Duration, failures: u32, max: Duration) -> Duration {
    step.saturating_mul(failures).min(max)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_not_shown() {
        let token = Token::new("eyJhbGciOi", Duration::from_hours(2));
        assert_eq!(format!("{token:?}"), "***");
    }

    #[test]
    fn waits_grow_by_a_step() {
        let (step, max) = (Duration::from_secs(5), Duration::from_secs(30));
        let waits: Vec<u64> = (1..=7).map(|failures| quick(step, failures, max).as_secs()).collect();
        assert_eq!(waits, [5, 10, 15, 20, 25, 30, 30]);
    }
}

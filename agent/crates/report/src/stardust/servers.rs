//! Calls to the servers, with failover.
//!
//! Invariant: a call takes bounded time and reads a bounded answer. The token goes into the `Authorization` header,
//! never into a URL or a log.

use std::error::Error as _;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use reqwest::{Client, Method, Response, Url, header};
use rustls::ClientConfig;
use serde::Serialize;
use serde_json::Value;

use super::envelope::{self, CallError};
use super::settings::{Settings, StardustError};

/// Answers are small; more than this is none.
const ANSWER_BYTES: usize = 8 << 20;

/// The servers, and how each is doing.
#[derive(Debug)]
pub(super) struct Servers {
    client: Client,
    tls: Arc<ClientConfig>,
    bases: Vec<Url>,
    shielded_until: Mutex<Vec<Option<Instant>>>,
    shield: Duration,
}

/// One call.
#[derive(Debug, Clone)]
pub(super) struct Call {
    method: Method,
    path: &'static str,
    query: Option<(&'static str, &'static str)>,
    body: Option<(&'static str, Vec<u8>)>,
}

impl Call {
    /// A POST of `body` as JSON.
    pub(super) fn post(path: &'static str, body: &impl Serialize) -> Self {
        // Maps with odd keys alone cannot be written, and the wire types have none.
        let json = serde_json::to_vec(body).unwrap_or_default();
        Self { method: Method::POST, path, query: None, body: Some(("application/json", json)) }
    }

    /// A POST of bytes that are of `content_type`.
    pub(super) fn post_raw(path: &'static str, content_type: &'static str, bytes: Vec<u8>) -> Self {
        Self { method: Method::POST, path, query: None, body: Some((content_type, bytes)) }
    }

    /// A GET with one query parameter.
    pub(super) fn get(path: &'static str, name: &'static str, value: &'static str) -> Self {
        Self { method: Method::GET, path, query: Some((name, value)), body: None }
    }
}

impl Servers {
    /// The servers of `settings`.
    pub(super) fn new(settings: &Settings) -> Result<Self, StardustError> {
        let listed = settings.servers.iter().flat_map(|list| list.split(','));
        let bases: Vec<Url> =
            listed.map(str::trim).filter(|url| !url.is_empty()).map(base).collect::<Result<_, _>>()?;
        if bases.is_empty() {
            return Err(StardustError::NoServer);
        }
        let tls = super::tls::trust(settings.ca_file.as_deref())?;
        let client = Client::builder()
            .user_agent(concat!("stardust-probe/", env!("CARGO_PKG_VERSION")))
            .timeout(settings.timing.call)
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy()
            .tls_backend_preconfigured(tls.clone())
            .build()
            .map_err(|error| StardustError::Client(reason(&error)))?;
        let shielded_until = Mutex::new(vec![None; bases.len()]);
        Ok(Self { client, tls: Arc::new(tls), bases, shielded_until, shield: settings.timing.shield })
    }

    /// Whether no word to any server can be overheard.
    pub(super) fn all_encrypted(&self) -> bool {
        self.bases.iter().all(|base| base.scheme() == "https")
    }

    /// The trust that the servers are checked with.
    pub(super) fn tls(&self) -> Arc<ClientConfig> {
        Arc::clone(&self.tls)
    }

    /// Where the next call goes first.
    pub(super) fn current(&self) -> &Url {
        &self.bases[self.order()[0]]
    }

    /// The servers, for the log.
    pub(super) fn shown(&self) -> String {
        self.bases.iter().map(Url::as_str).collect::<Vec<_>>().join(", ")
    }

    /// Makes `call` and opens the answer's envelope. A server that is away is passed over for the next one.
    pub(super) async fn send(&self, call: &Call, token: Option<&str>) -> Result<Value, CallError> {
        let mut last = CallError::Away("no server".to_owned());
        for index in self.order() {
            match self.send_to(&self.bases[index], call, token).await {
                Err(CallError::Away(why)) => {
                    self.shielded_until.lock()[index] = Some(Instant::now() + self.shield);
                    last = CallError::Away(why);
                }
                answer => {
                    self.shielded_until.lock()[index] = None;
                    return answer;
                }
            }
        }
        Err(last)
    }

    /// Those that did not fail lately, as they were given; if all did, the one that failed first.
    fn order(&self) -> Vec<usize> {
        let now = Instant::now();
        let shields = self.shielded_until.lock();
        let well: Vec<usize> =
            (0..shields.len()).filter(|&index| shields[index].is_none_or(|until| until <= now)).collect();
        if well.is_empty() {
            (0..shields.len()).min_by_key(|&index| shields[index]).into_iter().collect()
        } else {
            well
        }
    }

    async fn send_to(&self, base: &Url, call: &Call, token: Option<&str>) -> Result<Value, CallError> {
        let away = |error: reqwest::Error| CallError::Away(format!("{base}: {}", reason(&error)));
        let mut url = join(base, call.path);
        if let Some((name, value)) = call.query {
            url.query_pairs_mut().append_pair(name, value);
        }
        let mut request =
            self.client.request(call.method.clone(), url).header(header::ACCEPT, "application/json");
        if let Some(token) = token {
            request = request.bearer_auth(token);
        }
        if let Some((content_type, bytes)) = &call.body {
            request = request.header(header::CONTENT_TYPE, *content_type).body(bytes.clone());
        }
        let mut response = request.send().await.map_err(away)?;
        let body = read(&mut response).await.map_err(away)?;
        envelope::open(response.status().as_u16(), &body).map_err(|error| match error {
            CallError::Away(why) => CallError::Away(format!("{base}: {why}")),
            CallError::Foreign(why) => {
                CallError::Foreign(format!("{base}{}: {why}", call.path.trim_start_matches('/')))
            }
            error => error,
        })
    }
}

/// The body, or as much of it as an answer may have.
async fn read(response: &mut Response) -> reqwest::Result<Vec<u8>> {
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await? {
        body.extend_from_slice(&chunk[..chunk.len().min(ANSWER_BYTES - body.len())]);
        if body.len() == ANSWER_BYTES {
            break;
        }
    }
    Ok(body)
}

fn base(url: &str) -> Result<Url, StardustError> {
    let bad = |why: &str| StardustError::BadServer { url: url.to_owned(), why: why.to_owned() };
    let mut parsed = Url::parse(url).map_err(|error| bad(&error.to_string()))?;
    if !matches!(parsed.scheme(), "http" | "https") || parsed.host_str().is_none() {
        return Err(bad("it must begin with http:// or https://"));
    }
    if !parsed.username().is_empty() || parsed.password().is_some() {
        return Err(StardustError::BadServer {
            url: format!("{}://…@{}", parsed.scheme(), parsed.host_str().unwrap_or_default()),
            why: "a user name has no place in it".to_owned(),
        });
    }
    parsed.set_query(None);
    parsed.set_fragment(None);
    Ok(parsed)
}

/// `path` below `base`.
pub(super) fn join(base: &Url, path: &str) -> Url {
    let mut url = base.clone();
    url.set_path(&format!("{}{path}", base.path().trim_end_matches('/')));
    url
}

/// An error and what caused it, in one line, without the URL.
fn reason(error: &reqwest::Error) -> String {
    let what = if error.is_timeout() {
        "no answer in time"
    } else if error.is_connect() {
        "cannot connect"
    } else {
        "the call failed"
    };
    let mut deepest = None;
    let mut source = error.source();
    while let Some(cause) = source {
        deepest = Some(cause.to_string());
        source = cause.source();
    }
    deepest.map_or_else(|| what.to_owned(), |cause| format!("{what} ({cause})"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn servers(list: &[&str]) -> Result<Servers, StardustError> {
        Servers::new(&Settings {
            servers: list.iter().map(ToString::to_string).collect(),
            ..Settings::default()
        })
    }

    #[test]
    fn addresses_are_checked() {
        for (list, expected) in [
            (&["http://a:6600/, https://b/star"][..], Ok("http://a:6600/, https://b/star")),
            (&[" ", ""], Err("no Stardust server is given")),
            (&["star.example.com:6600"], Err("it must begin with http://")),
            (&["ftp://a"], Err("it must begin with http://")),
            (&["http://"], Err("empty host")),
            (&["http://admin:pass@a:6600"], Err("a user name has no place in it")),
        ] {
            match (servers(list).map(|servers| servers.shown()), expected) {
                (Ok(shown), Ok(expected)) => assert_eq!(shown, expected),
                (Err(error), Err(expected)) => {
                    assert!(
                        error.to_string().contains(expected) && !error.to_string().contains("pass@"),
                        "{error}"
                    );
                }
                (got, expected) => panic!("{list:?}: {got:?} is not {expected:?}"),
            }
        }
    }

    #[test]
    fn paths_are_below_the_base() {
        for (base, expected) in
            [("http://a:6600", "http://a:6600/App/Login"), ("http://a/star/", "http://a/star/App/Login")]
        {
            assert_eq!(join(&Url::parse(base).expect("a URL"), "/App/Login").as_str(), expected);
        }
    }

    #[test]
    fn a_failed_server_is_passed_over() {
        let servers = servers(&["http://a", "http://b"]).expect("servers");
        assert_eq!(servers.order(), [0, 1]);
        let now = Instant::now();
        servers.shielded_until.lock()[0] = Some(now + Duration::from_mins(1));
        assert_eq!(servers.order(), [1]);
        servers.shielded_until.lock()[1] = Some(now + Duration::from_secs(50));
        assert_eq!(servers.order(), [1]);
        servers.shielded_until.lock()[0] = Some(now);
        assert_eq!(servers.order(), [0]);
    }
}

//! A client that knows nothing of the protocol but HTTP.

use reqwest::Client;
use serde_json::{Value, json};
use tests::stardust::StarServer;

/// Sends calls to one server, with a token once it has one.
pub struct Caller {
    client: Client,
    url: String,
    /// Sent as `Authorization: Bearer`.
    pub token: Option<String>,
}

/// Unix milliseconds now.
pub fn now_ms() -> i64 {
    let since = std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap();
    i64::try_from(since.as_millis()).unwrap()
}

/// A client that trusts this CA only, if one is given, and opens a connection for each call.
pub fn client(ca_pem: Option<&str>) -> Client {
    // The second test of the process finds it done.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let roots = ca_pem.map(|pem| reqwest::Certificate::from_pem(pem.as_bytes()).unwrap());
    Client::builder().tls_certs_only(roots).pool_max_idle_per_host(0).build().unwrap()
}

impl Caller {
    pub fn new(server: &StarServer) -> Self {
        Self { client: client(server.ca_pem()), url: server.url(), token: None }
    }

    pub async fn login(&mut self, app: &str, client_id: &str) {
        self.token = None;
        let answer = self.post("/App/Login", &json!({ "AppId": app, "ClientId": client_id })).await;
        self.token = Some(answer["data"]["token"].as_str().unwrap().to_owned());
    }

    pub async fn post(&self, path: &str, body: &Value) -> Value {
        self.post_with(path, &[], body).await
    }

    pub async fn post_with(&self, path: &str, headers: &[(&'static str, String)], body: &Value) -> Value {
        let mut request = self.client.post(format!("{}{path}", self.url)).json(body);
        for (name, value) in headers {
            request = request.header(*name, value);
        }
        self.send(request).await
    }

    pub async fn get(&self, path: &str) -> Value {
        self.send(self.client.get(format!("{}{path}", self.url))).await
    }

    /// Status, content type and text of the answer.
    pub async fn raw(
        &self,
        path: &str,
        content_type: &str,
        encoding: &str,
        body: impl Into<reqwest::Body>,
    ) -> (u16, String, String) {
        let mut request =
            self.client.post(format!("{}{path}", self.url)).header("content-type", content_type);
        if !encoding.is_empty() {
            request = request.header("content-encoding", encoding);
        }
        let response = self.authorized(request).body(body).send().await.unwrap();
        let kind = response.headers().get("content-type").map(|kind| kind.to_str().unwrap().to_owned());
        (response.status().as_u16(), kind.unwrap_or_default(), response.text().await.unwrap())
    }

    async fn send(&self, request: reqwest::RequestBuilder) -> Value {
        let response = self.authorized(request).send().await.unwrap();
        assert_eq!(response.status(), 200);
        response.json().await.unwrap()
    }

    fn authorized(&self, request: reqwest::RequestBuilder) -> reqwest::RequestBuilder {
        match &self.token {
            Some(token) => request.bearer_auth(token),
            None => request,
        }
    }
}

//! Calls as the server sees them, and its answers: the envelope, and the few that go without it.
//!
//! Invariant: a business error is HTTP 200 with a code and a message.

use std::net::{IpAddr, SocketAddr};

use axum::body::Bytes;
use axum::extract::{FromRequest, Request};
use axum::http::{HeaderMap, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

use super::bind::{BindError, Fields, Style};

/// A call with its body.
#[derive(Debug, Clone)]
pub struct Call {
    /// The method.
    pub method: Method,
    /// The path, in lower case.
    pub path: String,
    /// The query, decoded.
    pub query: Vec<(String, String)>,
    /// The headers.
    pub headers: HeaderMap,
    /// The body.
    pub body: Bytes,
    /// Who calls.
    pub remote: IpAddr,
}

/// The address of the connection's other end, put beside each request by the listener.
#[derive(Debug, Clone, Copy)]
pub struct Remote(pub SocketAddr);

/// Why a call is refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refusal {
    /// HTTP 200, with this code and message.
    Business(i32, String),
    /// The same from the filter before the action: there is a trace id too.
    Filter(i32, String),
    /// HTTP 400 problem details: these fields do not bind.
    Unbound(String),
    /// HTTP 415 problem details.
    MediaType,
}

impl Refusal {
    /// A business error with code 500, which any exception of the server becomes.
    pub fn exception(message: impl Into<String>) -> Self {
        Self::Business(500, message.into())
    }
}

impl From<BindError> for Refusal {
    fn from(error: BindError) -> Self {
        Self::Unbound(error.0)
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let trace_id = "00-6b2fd20a0f1c4c6e8b8a5f4d3c2b1a09-8f7e6d5c4b3a2910-00";
        match self {
            Self::Business(code, message) => envelope(&json!({ "code": code, "message": message })),
            Self::Filter(code, message) => {
                envelope(&json!({ "code": code, "message": message, "traceId": trace_id }))
            }
            Self::Unbound(field) => problem(
                StatusCode::BAD_REQUEST,
                &json!({
                    "type": "https://tools.ietf.org/html/rfc9110#section-15.5.1",
                    "title": "One or more validation errors occurred.", "status": 400,
                    "errors": { field: ["The value could not be converted, or is required."] }, "traceId": trace_id,
                }),
            ),
            Self::MediaType => problem(
                StatusCode::UNSUPPORTED_MEDIA_TYPE,
                &json!({
                    "type": "https://tools.ietf.org/html/rfc9110#section-15.5.16",
                    "title": "Unsupported Media Type", "status": 415, "traceId": trace_id,
                }),
            ),
        }
    }
}

/// The envelope of what an action gave.
pub fn answer(result: Result<Value, Refusal>) -> Response {
    match result {
        Ok(data) => envelope(&json!({ "code": 0, "data": data })),
        Err(refusal) => refusal.into_response(),
    }
}

fn envelope(body: &Value) -> Response {
    ([(header::CONTENT_TYPE, "application/json; charset=utf-8")], body.to_string()).into_response()
}

fn problem(status: StatusCode, body: &Value) -> Response {
    (status, [(header::CONTENT_TYPE, "application/problem+json; charset=utf-8")], body.to_string())
        .into_response()
}

impl Call {
    /// A header's value, if it is text.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }

    /// A parameter of the query, whatever its case.
    pub fn parameter(&self, name: &str) -> Option<&str> {
        self.query.iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }

    /// The token: query, `Authorization`, `X-Token`, cookie; the first that is there.
    pub fn token(&self) -> Option<String> {
        let bearer = self.header("authorization").map(|value| value.strip_prefix("Bearer ").unwrap_or(value));
        [self.parameter("Token"), bearer, self.header("x-token"), self.cookie_token()]
            .into_iter()
            .flatten()
            .find(|token| !token.is_empty())
            .map(str::to_owned)
    }

    /// The token as the trace and configuration actions see it: an empty `Token=` hides the headers.
    pub fn bound_token(&self) -> Option<String> {
        if self.parameter("Token") == Some("") { None } else { self.token() }
    }

    /// The body as the strict parser sees it: `None` if it is no JSON or the JSON null.
    pub fn strict_body(&self) -> Result<Option<Value>, Refusal> {
        let media_type =
            self.header("content-type").unwrap_or_default().split(';').next().unwrap_or_default();
        if !media_type.trim().eq_ignore_ascii_case("application/json") {
            return Err(Refusal::MediaType);
        }
        Ok(serde_json::from_slice(&self.body).ok().filter(|value: &Value| !value.is_null()))
    }

    /// The body of an action whose controller refuses what does not bind with HTTP 400.
    pub fn required<T>(&self, bind: impl Fn(Fields<'_>) -> Result<T, BindError>) -> Result<T, Refusal> {
        let body = self.strict_body()?.ok_or_else(|| Refusal::Unbound("$".to_owned()))?;
        Ok(bind(Fields::of(&body, Style::Strict)?)?)
    }

    fn cookie_token(&self) -> Option<&str> {
        let cookies = self.header("cookie")?.split(';');
        cookies
            .filter_map(|cookie| cookie.trim().split_once('='))
            .find(|(name, _)| *name == "Token")
            .map(|pair| pair.1)
    }
}

impl<S: Send + Sync> FromRequest<S> for Call {
    type Rejection = Response;

    async fn from_request(request: Request, state: &S) -> Result<Self, Response> {
        let remote =
            request.extensions().get::<Remote>().map_or(IpAddr::from([0, 0, 0, 0]), |remote| remote.0.ip());
        let (method, uri) = (request.method().clone(), request.uri().clone());
        let headers = request.headers().clone();
        let query: axum::extract::Query<Vec<(String, String)>> =
            axum::extract::Query::try_from_uri(&uri).map_err(IntoResponse::into_response)?;
        let body = Bytes::from_request(request, state).await.map_err(IntoResponse::into_response)?;
        Ok(Self { method, path: uri.path().to_owned(), query: query.0, headers, body, remote })
    }
}

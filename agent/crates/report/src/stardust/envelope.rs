//! The envelope of every answer: `{"code":0,"data":…}`, or a failure's code and message, both with HTTP status 200.
//!
//! Invariant: any status and any bytes give data or a [`CallError`] that says what to do next.

use serde_json::Value;
use thiserror::Error;

use super::fields::Fields;
use super::text::cut;

/// Why a call gave no data.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub(super) enum CallError {
    /// Nobody answered, or a gateway did in the server's place. Worth another try.
    #[error("{0}")]
    Away(String),
    /// The server said no.
    #[error("the server says {code}: {message}")]
    Api {
        /// Stardust's code: 401 no valid token, 403 disabled, 500 anything else.
        code: i64,
        /// Its words.
        message: String,
    },
    /// The request is not taken as it is, and never will be.
    #[error("the server refuses the request with HTTP status {0}")]
    Refused(u16),
    /// What answered is no Stardust server, or another version of it.
    #[error("{0}")]
    Foreign(String),
    /// There is no token now; the login is tried again later.
    #[error("not logged in")]
    NoLogin,
}

/// The data of an answer; `Null` if it has none.
pub(super) fn open(status: u16, body: &[u8]) -> Result<Value, CallError> {
    match status {
        200 => {}
        404 => return Err(CallError::Foreign("HTTP status 404".to_owned())),
        408 | 429 | 500..=599 => return Err(CallError::Away(format!("HTTP status {status}"))),
        400..=499 => return Err(CallError::Refused(status)),
        _ => return Err(CallError::Foreign(format!("HTTP status {status}"))),
    }
    let mut answer: Value = serde_json::from_slice(body)
        .map_err(|_| CallError::Foreign(format!("the answer is no JSON but '{}'", glimpse(body))))?;
    let fields = Fields::of(&answer);
    let Some(code) = fields.as_ref().and_then(|fields| fields.int("code")) else {
        return Err(CallError::Foreign(format!("the answer has no code: '{}'", glimpse(body))));
    };
    if code != 0 && code != 200 {
        let message = fields.and_then(|fields| fields.text("message")).unwrap_or("no reason given");
        return Err(CallError::Api { code, message: glimpse(message.as_bytes()) });
    }
    let data = answer
        .as_object_mut()
        .and_then(|members| members.iter_mut().find(|(key, _)| key.eq_ignore_ascii_case("data")))
        .map_or(Value::Null, |(_, data)| data.take());
    Ok(data)
}

/// The beginning of `body` for one line of a log.
fn glimpse(body: &[u8]) -> String {
    let text = String::from_utf8_lossy(&body[..body.len().min(400)]);
    let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    cut(&line, 100).chars().filter(|c| !c.is_control()).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn answers_are_told_apart() {
        let api = |code, message: &str| Err(CallError::Api { code, message: message.to_owned() });
        let foreign = |what: &str| Err(CallError::Foreign(what.to_owned()));
        for (status, body, expected) in [
            (200, r#"{"code":0,"data":{"a":1}}"#, Ok(json!({"a": 1}))),
            (200, r#"{"Code":200,"Data":5}"#, Ok(json!(5))),
            (200, r#"{"code":0,"data":null}"#, Ok(Value::Null)),
            (200, r#"{"code":0}"#, Ok(Value::Null)),
            (200, r#"{"code":401,"message":"认证失败","traceId":"x"}"#, api(401, "认证失败")),
            (200, r#"{"code":500}"#, api(500, "no reason given")),
            (200, r#"{"data":1}"#, foreign(r#"the answer has no code: '{"data":1}'"#)),
            (200, "[]", foreign("the answer has no code: '[]'")),
            (200, "<html>\n <p>", foreign("the answer is no JSON but '<html> <p>'")),
            (200, "", foreign("the answer is no JSON but ''")),
            (404, "", foreign("HTTP status 404")),
            (302, "", foreign("HTTP status 302")),
            (400, r#"{"status":400}"#, Err(CallError::Refused(400))),
            (413, "", Err(CallError::Refused(413))),
            (502, "", Err(CallError::Away("HTTP status 502".to_owned()))),
        ] {
            assert_eq!(open(status, body.as_bytes()), expected, "{status} {body}");
        }
    }

    #[test]
    fn a_glimpse_is_short_and_plain() {
        let long = "é\u{7}".repeat(500);
        let seen = glimpse(long.as_bytes());
        assert!(seen.chars().count() <= 100 && !seen.contains('\u{7}'));
    }
}

//! Tokens: JWT with HS256, stateless as the server's are.
//!
//! Invariant: what `read` accepts, `issue` with the same key has made.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, Mac};
use serde_json::{Value, json};
use sha2::Sha256;

/// What a token says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claims {
    /// `sub`: the app's name.
    pub app: String,
    /// `jti`: the `ClientId` of the login.
    pub client_id: String,
    /// `iat`, in Unix seconds.
    pub issued_s: i64,
    /// `exp`, in Unix seconds.
    pub expires_s: i64,
}

/// Why a token cannot be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TokenFault {
    /// Not three parts, not base64url, not JSON, or another algorithm.
    Format,
    /// Signed with another key.
    Signature,
}

/// The key tokens are signed with.
#[derive(Debug, Clone)]
pub struct TokenKey(Vec<u8>);

impl TokenKey {
    /// A key from its text.
    pub fn new(key: &str) -> Self {
        Self(key.as_bytes().to_vec())
    }

    /// A signed token. The header is `{"alg":"HS256"}`, without `typ`.
    pub fn issue(&self, claims: &Claims) -> String {
        let body = json!({
            "iss": "StarServer", "sub": claims.app, "exp": claims.expires_s,
            "iat": claims.issued_s, "jti": claims.client_id,
        });
        let signed = format!(
            "{}.{}",
            URL_SAFE_NO_PAD.encode(r#"{"alg":"HS256"}"#),
            URL_SAFE_NO_PAD.encode(body.to_string())
        );
        let signature = URL_SAFE_NO_PAD.encode(self.mac(&signed).finalize().into_bytes());
        format!("{signed}.{signature}")
    }

    /// Reads a token. Whether it has expired is the caller's to say.
    pub fn read(&self, token: &str) -> Result<Claims, TokenFault> {
        let parts: Vec<&str> = token.split('.').collect();
        let [header, body, signature] = parts[..] else { return Err(TokenFault::Format) };
        if decode(header)?["alg"] != "HS256" {
            return Err(TokenFault::Format);
        }
        let claims = decode(body)?;
        let signature = URL_SAFE_NO_PAD.decode(signature).map_err(|_| TokenFault::Format)?;
        self.mac(&format!("{header}.{body}")).verify_slice(&signature).map_err(|_| TokenFault::Signature)?;
        Ok(Claims {
            app: claims["sub"].as_str().unwrap_or_default().to_owned(),
            client_id: claims["jti"].as_str().unwrap_or_default().to_owned(),
            issued_s: claims["iat"].as_i64().unwrap_or_default(),
            expires_s: claims["exp"].as_i64().unwrap_or_default(),
        })
    }

    fn mac(&self, text: &str) -> Hmac<Sha256> {
        let mut mac = Hmac::<Sha256>::new_from_slice(&self.0).expect("HMAC takes keys of any length");
        mac.update(text.as_bytes());
        mac
    }
}

fn decode(part: &str) -> Result<Value, TokenFault> {
    let bytes = URL_SAFE_NO_PAD.decode(part).map_err(|_| TokenFault::Format)?;
    serde_json::from_slice(&bytes).map_err(|_| TokenFault::Format)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SAMPLE: &str = "eyJhbGciOiJIUzI1NiJ9.eyJpc3MiOiJTdGFyU2VydmVyIiwic3ViIjoiTXlBcHAiLCJleHAiOjE3NTQxMDcyMDAsImlhdCI6MTc1NDEwMDAwMCwianRpIjoiMTkyLjE2OC4xLjEwMEAxMjM0NSJ9.kMukGXeXooEbwnCpyj41sVrdd6hMlf_FGuIFs_Ti0NU";

    fn claims() -> Claims {
        Claims {
            app: "MyApp".to_owned(),
            client_id: "192.168.1.100@12345".to_owned(),
            issued_s: 1_754_100_000,
            expires_s: 1_754_107_200,
        }
    }

    #[test]
    fn the_sample_is_read() {
        assert_eq!(TokenKey::new("ABCD1234").read(SAMPLE), Ok(claims()));
    }

    #[test]
    fn what_is_issued_is_read_with_the_same_key_only() {
        let token = TokenKey::new("k1").issue(&claims());
        assert_eq!(TokenKey::new("k1").read(&token), Ok(claims()));
        assert_eq!(TokenKey::new("k2").read(&token), Err(TokenFault::Signature));
        for broken in ["", "a.b", "a.b.c", "e30.e30.e30", &token[1..]] {
            assert_eq!(TokenKey::new("k1").read(broken), Err(TokenFault::Format), "{broken}");
        }
    }
}

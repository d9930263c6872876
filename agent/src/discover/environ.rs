//! What a process's environment says about the app it belongs to.

use std::borrow::Cow;

/// What was found; `None` where nothing or an empty value stands.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Hints {
    /// `STARDUST_APP_ID`.
    pub(super) stardust_app_id: Option<String>,
    /// `OTEL_SERVICE_NAME`, else `service.name` of `OTEL_RESOURCE_ATTRIBUTES`.
    pub(super) otel_service_name: Option<String>,
    /// `STARDUST_APP_VERSION`, else `service.version` of `OTEL_RESOURCE_ATTRIBUTES`.
    pub(super) version: Option<String>,
    /// `FLASK_APP`: what `flask run` without `--app` serves.
    pub(super) flask_app: Option<String>,
}

/// From the parts of `/proc/PID/environ`. The first of two equal names counts, as in `getenv(3)`.
pub(super) fn hints(variables: &[String]) -> Hints {
    let get = |name: &str| {
        let value = variables.iter().find_map(|v| v.strip_prefix(name)?.strip_prefix('='))?.trim();
        (!value.is_empty()).then(|| value.to_owned())
    };
    let attributes = get("OTEL_RESOURCE_ATTRIBUTES").unwrap_or_default();
    Hints {
        stardust_app_id: get("STARDUST_APP_ID"),
        otel_service_name: get("OTEL_SERVICE_NAME").or_else(|| attribute(&attributes, "service.name")),
        version: get("STARDUST_APP_VERSION").or_else(|| attribute(&attributes, "service.version")),
        flask_app: get("FLASK_APP"),
    }
}

/// A value of `key1=value1,key2=value2`, percent-decoded as the OpenTelemetry resource SDK specification says.
fn attribute(attributes: &str, key: &str) -> Option<String> {
    let pairs = attributes.split(',').filter_map(|pair| pair.split_once('='));
    let value = pairs.filter(|(name, _)| name.trim() == key).map(|(_, value)| decode(value.trim())).next()?;
    (!value.is_empty()).then(|| value.into_owned())
}

fn decode(text: &str) -> Cow<'_, str> {
    if !text.contains('%') {
        return Cow::Borrowed(text);
    }
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, after @ ..] = rest {
        let hex = |at: usize| after.get(at).and_then(|&b| char::from(b).to_digit(16));
        if let (b'%', Some(high), Some(low)) = (first, hex(0), hex(1)) {
            bytes.push((high * 16 + low) as u8);
            rest = &after[2..];
        } else {
            bytes.push(*first);
            rest = after;
        }
    }
    Cow::Owned(String::from_utf8_lossy(&bytes).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(variables: &[&str]) -> Hints {
        hints(&variables.iter().map(|&v| v.to_owned()).collect::<Vec<_>>())
    }

    #[test]
    fn names_are_exact_and_empty_values_do_not_count() {
        let found = of(&[
            "STARDUST_APP_IDS=no",
            "STARDUST_APP_ID= ",
            "OTEL_SERVICE_NAME=shop",
            "OTEL_SERVICE_NAME=b",
        ]);
        assert_eq!(found, Hints { otel_service_name: Some("shop".into()), ..Hints::default() });
    }

    #[test]
    fn resource_attributes_are_the_last_resort() {
        let attributes = "OTEL_RESOURCE_ATTRIBUTES=a=b, service.name=my%20shop%zz%,service.version=1.2";
        let found = of(&[attributes]);
        assert_eq!(found.otel_service_name.as_deref(), Some("my shop%zz%"));
        assert_eq!(found.version.as_deref(), Some("1.2"));
        let found = of(&[attributes, "OTEL_SERVICE_NAME=shop", "STARDUST_APP_VERSION=3"]);
        assert_eq!(found.otel_service_name.as_deref(), Some("shop"));
        assert_eq!(found.version.as_deref(), Some("3"));
    }
}

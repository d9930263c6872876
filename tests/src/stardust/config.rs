//! The configuration center: keys by app and scope, versions, publishing.
//!
//! Invariant: what is edited becomes visible only when it is published, under the next version.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::answer::{Call, Refusal};
use super::bind::{BindError, Fields, Style};
use super::login::check_plain;
use super::rule::{local_text, now_ms};
use super::state::{Shared, State};

/// The app whose keys every app sees.
const GLOBAL_APP: &str = "Common";
/// References within references, at most.
const MAX_DEPTH: usize = 8;

/// An app's keys.
#[derive(Debug, Clone)]
pub struct AppConfig {
    /// Whether the keys are given out.
    pub enabled: bool,
    /// The published version, 1 or more.
    pub version: i64,
    /// Published values by key and scope (empty for any).
    pub values: BTreeMap<(String, String), String>,
    /// Edits that wait for the next version.
    pub pending: BTreeMap<(String, String), String>,
    /// When it was last published, in Unix milliseconds.
    pub updated_ms: i64,
}

impl Default for AppConfig {
    fn default() -> Self {
        Self {
            enabled: true,
            version: 1,
            values: BTreeMap::new(),
            pending: BTreeMap::new(),
            updated_ms: now_ms(),
        }
    }
}

impl AppConfig {
    /// Makes the edits visible.
    pub fn publish(&mut self) {
        self.values.append(&mut self.pending);
        self.version += 1;
        self.updated_ms = now_ms();
    }

    fn next_version(&self) -> i64 {
        self.version + i64::from(!self.pending.is_empty())
    }

    /// The keys an instance of this scope sees.
    fn visible(&self, scope: &str) -> BTreeMap<String, String> {
        let fits = |wanted: &'_ str| {
            let wanted = wanted.to_owned();
            self.values
                .iter()
                .filter(move |((key, scope), _)| *scope == wanted && !key.starts_with('_'))
                .map(|((key, _), value)| (key.clone(), value.clone()))
        };
        fits("").chain(fits(scope)).collect()
    }
}

/// A call for keys, from the body or the query.
#[derive(Default)]
struct ConfigInModel {
    app_id: String,
    secret: String,
    client_id: String,
    scope: String,
    version: i64,
}

impl ConfigInModel {
    fn bind(fields: Fields<'_>) -> Result<Self, BindError> {
        let text = |name| fields.text(name).map(Option::unwrap_or_default);
        text("UsedKeys")?;
        text("MissedKeys")?;
        Ok(Self {
            app_id: text("AppId")?,
            secret: text("Secret")?,
            client_id: text("ClientId")?,
            scope: text("Scope")?,
            version: fields.integer::<i32>("Version")?.into(),
        })
    }

    fn from_query(call: &Call) -> Self {
        let text = |name| call.parameter(name).unwrap_or_default().to_owned();
        Self {
            app_id: text("appId"),
            secret: text("secret"),
            client_id: text("clientId"),
            scope: text("scope"),
            version: text("version").parse().unwrap_or_default(),
        }
    }
}

fn null_reference() -> Refusal {
    Refusal::exception("Object reference not set to an instance of an object.")
}

/// `POST /Config/GetAll` with a body, or `GET` with the same names in the query.
pub fn get_all(shared: &Shared, call: &Call) -> Result<Value, Refusal> {
    let by_query = call.method == axum::http::Method::GET;
    let model = if by_query {
        ConfigInModel::from_query(call)
    } else {
        let body = call.strict_body()?.ok_or_else(null_reference)?;
        Fields::of(&body, Style::Strict).and_then(ConfigInModel::bind).map_err(|_| null_reference())?
    };
    let mut state = shared.state.lock();
    let (name, client_id) = enter(shared, &mut state, call, &model)?;
    let config = state.app_or_new(&name, "").config.clone();
    if !config.enabled {
        return Err(Refusal::exception(format!("应用[{name}]已禁用！ (Parameter 'appId')")));
    }
    let row = shared.seen(&mut state, &client_id, &name);
    let scope_kept = row.config_scope.as_ref() == Some(&model.scope);
    row.config_scope = Some(model.scope.clone());
    let unchanged = model.version > 0 && model.version >= config.version && scope_kept;
    let updated = local_text(config.updated_ms);
    if unchanged && by_query {
        return Ok(json!({
            "version": config.version, "scope": null, "sourceIP": null, "nextVersion": 0, "nextPublish": null,
            "updateTime": updated, "configs": null,
        }));
    }
    let configs = if unchanged { Value::Null } else { resolved(&state, &name, &model.scope)?.into() };
    Ok(json!({
        "version": config.version, "scope": Some(model.scope).filter(|scope| !scope.is_empty()),
        "sourceIP": call.remote.to_string(), "nextVersion": config.next_version(), "nextPublish": "",
        "updateTime": updated, "configs": configs,
    }))
}

/// `POST /Config/SetAll`: adds keys that are missing, for the next version. Gives how many.
pub fn set_all(shared: &Shared, call: &Call) -> Result<Value, Refusal> {
    let body = call.strict_body()?.ok_or_else(null_reference)?;
    let fields = Fields::of(&body, Style::Strict).map_err(|_| null_reference())?;
    let model = ConfigInModel::bind(fields).map_err(|_| null_reference())?;
    let keys = fields.value("Configs").and_then(Value::as_object).ok_or_else(null_reference)?;
    let mut state = shared.state.lock();
    let (name, _) = enter(shared, &mut state, call, &model)?;
    let config = &mut state.app_or_new(&name, "").config;
    let mut added = 0;
    for (key, value) in keys {
        let value = value.get("Value").unwrap_or(value);
        let slot = (key.clone(), String::new());
        if !config.values.contains_key(&slot) && !config.pending.contains_key(&slot) {
            let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
            config.pending.insert(slot, text);
            added += 1;
        }
    }
    Ok(json!(added))
}

/// By token, or by the plain secret. Gives the app and the instance.
fn enter(
    shared: &Shared,
    state: &mut State,
    call: &Call,
    model: &ConfigInModel,
) -> Result<(String, String), Refusal> {
    let Some(token) = call.bound_token() else {
        let name = check_plain(state, &model.app_id, &model.secret)?;
        let client_id =
            if model.client_id.is_empty() { call.remote.to_string() } else { model.client_id.clone() };
        return Ok((name, client_id));
    };
    let claims = shared.authenticate(state, Some(token))?;
    if !state.app(&claims.app).is_some_and(|app| app.enabled) {
        return Err(Refusal::Business(403, format!("应用[{}]已禁用！", claims.app)));
    }
    let name = if model.app_id.is_empty() { claims.app } else { model.app_id.clone() };
    let client_id = if model.client_id.is_empty() { claims.client_id } else { model.client_id.clone() };
    Ok((name, client_id))
}

/// Own keys before global ones, references replaced.
fn resolved(state: &State, app: &str, scope: &str) -> Result<Map<String, Value>, Refusal> {
    let keys_of = |name: &str| state.apps.get(&name.to_lowercase()).map(|app| app.config.visible(scope));
    let mut keys = keys_of(GLOBAL_APP).unwrap_or_default();
    keys.extend(keys_of(app).unwrap_or_default());
    let names: Vec<String> = keys.keys().cloned().collect();
    names
        .into_iter()
        .map(|key| Ok((key.clone(), resolve(state, app, scope, &keys[&key], 0)?.into())))
        .collect()
}

/// Replaces `${key}`, `${key@app}` and `${key@app:scope}`.
fn resolve(state: &State, app: &str, scope: &str, text: &str, depth: usize) -> Result<String, Refusal> {
    let Some((before, rest)) = text.split_once("${") else { return Ok(text.to_owned()) };
    let Some((reference, after)) = rest.split_once('}') else { return Ok(text.to_owned()) };
    let (key, place) = reference.split_once('@').unwrap_or((reference, app));
    let (place, scope) = place.split_once(':').unwrap_or((place, scope));
    let value = state
        .apps
        .get(&place.to_lowercase())
        .and_then(|owner| owner.config.visible(scope).remove(key))
        .filter(|_| depth < MAX_DEPTH)
        .ok_or_else(|| Refusal::exception(format!("找不到配置项[{reference}]")))?;
    let value = resolve(state, place, scope, &value, depth + 1)?;
    Ok(format!("{before}{value}{}", resolve(state, app, scope, after, depth)?))
}

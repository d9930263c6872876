//! `App/Login`, and the older `OAuth/Token`.
//!
//! Invariant: an answer with code 0 has put the instance on the online table.

use serde_json::{Value, json};

use super::answer::{Call, Refusal};
use super::bind::{BindError, Fields};
use super::journal::{Login, Record};
use super::rule::now_ms;
use super::secret::{Proof, md5_hex, verify};
use super::state::{Shared, State};

/// The body of a login.
struct AppModel {
    app_id: Option<String>,
    secret: Option<String>,
    client_id: Option<String>,
    app_name: Option<String>,
    version: Option<String>,
    compile_ms: i64,
}

impl AppModel {
    fn bind(fields: Fields<'_>) -> Result<Self, BindError> {
        for name in ["NodeCode", "Project", "IP", "Macs", "UUID"] {
            fields.text(name)?;
        }
        fields.integer::<i64>("Time")?;
        let (app_id, code) = (fields.text("AppId")?, fields.text("Code")?);
        Ok(Self {
            app_id: app_id.or(code),
            secret: fields.text("Secret")?,
            client_id: fields.text("ClientId")?,
            app_name: fields.text("AppName")?,
            version: fields.text("Version")?,
            compile_ms: fields.integer("Compile")?,
        })
    }
}

/// `POST /App/Login`: `AppId` and `Code` are one field; clients send the same in both.
pub fn login(shared: &Shared, call: &Call) -> Result<Value, Refusal> {
    let model = call.required(AppModel::bind)?;
    let mut state = shared.state.lock();
    let app_id = find_name(&state, &model);
    if app_id.is_empty() {
        return Err(Refusal::exception("名称不能为空！ (Parameter 'Name')"));
    }
    let proof = prove(&mut state, &app_id, model.secret.as_deref())?;
    let (settings, app) = (state.settings.clone(), state.app_or_new(&app_id, ""));
    if let Some(name) = model.app_name {
        app.display_name = Some(name);
    }
    if model.compile_ms >= app.compile_ms {
        app.compile_ms = model.compile_ms;
        if let Some(version) = model.version.clone().filter(|version| !version.is_empty()) {
            app.version = Some(version);
        }
    }
    let hands_out = matches!(proof, Proof::NewApp | Proof::Wrong);
    let (name, secret, enabled) = (app.name.clone(), app.secret.clone(), app.enabled);
    let client_id = model
        .client_id
        .filter(|client| !client.is_empty())
        .unwrap_or_else(|| md5_hex(&format!("{name}{}", now_ms())).to_lowercase()[..8].to_owned());
    shared.seen(&mut state, &client_id, &name).logins += 1;
    let token = enabled.then(|| shared.issue(&mut state, &name, &client_id));
    let record = Login {
        app: name.clone(),
        client_id,
        proof,
        sent_secret: model.secret,
        version: model.version,
        token_given: token.is_some(),
    };
    shared.record(&mut state, Record::Login(record));
    Ok(json!({
        "code": hands_out.then_some(&name),
        "secret": hands_out.then_some(&secret),
        "name": name,
        "expire": if token.is_some() { settings.token_lifetime_s } else { 0 },
        "token": token,
        "time": 0,
        "serverTime": now_ms(),
    }))
}

/// A name of 16 characters that comes with a secret may itself be some app's secret.
fn find_name(state: &State, model: &AppModel) -> String {
    let name = model.app_id.clone().unwrap_or_default();
    if name.len() == 16
        && model.secret.as_deref().is_some_and(|secret| !secret.is_empty())
        && let Some(app) = state.apps.values().find(|app| app.secret == name)
    {
        return app.name.clone();
    }
    name
}

fn prove(state: &mut State, name: &str, secret: Option<&str>) -> Result<Proof, Refusal> {
    let (window_s, rejects) = (state.settings.salt_window_s, state.settings.reject_wrong_secret);
    let Some(app) = state.app(name) else {
        let made = md5_hex(&format!("{name}{}", now_ms()))[..16].to_owned();
        state.app_or_new(name, &made);
        return Ok(Proof::NewApp);
    };
    if !app.enabled {
        return Err(Refusal::Business(403, "禁止登录".to_owned()));
    }
    let proof = verify(&app.secret, secret, now_ms() / 1000, window_s)
        .map_err(|_| Refusal::exception("密码格式不正确 (Parameter 'hash')"))?;
    if proof == Proof::Wrong && rejects {
        return Err(Refusal::Business(401, "应用鉴权失败".to_owned()));
    }
    Ok(proof)
}

/// `POST /OAuth/Token`, password and refresh grants: the secret must be plain and exact.
pub fn oauth_token(shared: &Shared, call: &Call) -> Result<Value, Refusal> {
    let body = call.strict_body()?.unwrap_or_default();
    let fields = Fields::of(&body, super::bind::Style::Strict)
        .map_err(|_| Refusal::exception("Object reference not set to an instance of an object."))?;
    let text =
        |name| fields.text(name).map(Option::unwrap_or_default).map_err(|error| Refusal::exception(error.0));
    let (grant, client_id) = (text("grant_type")?, text("clientId")?);
    let mut state = shared.state.lock();
    let name = match grant.as_str() {
        "password" => check_plain(&mut state, &text("username")?, &text("password")?)?,
        "refresh_token" => shared.authenticate(&state, Some(text("refresh_token")?))?.app,
        _ => return Err(Refusal::exception(format!("未支持 grant_type={grant}"))),
    };
    let token = shared.issue(&mut state, &name, &client_id);
    let lifetime_s = state.settings.token_lifetime_s;
    Ok(json!({ "access_token": token, "token_type": "JWT", "expire_in": lifetime_s, "refresh_token": token }))
}

/// The plain secret must be the app's; an unknown app is made with it. Gives the app's name.
pub fn check_plain(state: &mut State, name: &str, secret: &str) -> Result<String, Refusal> {
    if name.is_empty() {
        return Err(Refusal::exception("Value cannot be null. (Parameter 'username')"));
    }
    let app = state.app_or_new(name, secret);
    if !app.enabled {
        return Err(Refusal::Business(403, format!("应用[{name}]已禁用！")));
    }
    if !app.secret.is_empty() && app.secret != secret {
        return Err(Refusal::Business(403, format!("非法访问应用[{name}]！")));
    }
    Ok(app.name.clone())
}

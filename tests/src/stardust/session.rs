//! What a logged-in instance does beside reporting: ping, reply, post events, log out.
//!
//! Invariant: who calls is what the token says; names in the body do not count.

use serde_json::{Value, json};

use super::answer::{Call, Refusal};
use super::bind::{BindError, Fields, Style};
use super::journal::{Ping, Record, Reply};
use super::rule::{Version, local_text, now_ms, utc_text};
use super::state::{App, Command, Shared, State};
use super::token::Claims;
use super::wire::AppInfo;

const DAY_MS: i64 = 86_400_000;
/// A token this close to its end is replaced by the next ping.
const REFRESH_WINDOW_S: i64 = 600;
/// Builds from 2025 on get command times in UTC.
const UTC_SINCE_MS: i64 = 1_735_689_600_000;

/// `POST /App/Ping`, or `GET` with a body.
pub fn ping(shared: &Shared, call: &Call) -> Result<Value, Refusal> {
    let info = call.required(AppInfo::bind)?;
    let mut state = shared.state.lock();
    let claims = enter(shared, &mut state, call)?;
    let app = state.app_or_new(&claims.app, "");
    check_version(app, info.version.as_deref())?;
    let (period_s, compile_ms) = (app.ping_period_s, app.compile_ms);
    let ends_soon = claims.expires_s - now_ms() / 1000 < REFRESH_WINDOW_S;
    let token = ends_soon.then(|| shared.issue(&mut state, &claims.app, &claims.client_id));
    let commands: Vec<Value> = state
        .commands
        .iter_mut()
        .filter(|command| command.app == claims.app)
        .filter_map(|command| {
            command.pinged.insert(claims.client_id.clone()).then(|| camel_command(command, compile_ms))
        })
        .collect();
    let answer = json!({
        "time": info.time_ms, "serverTime": now_ms(), "period": period_s, "token": token,
        "newServer": null, "commands": if commands.is_empty() { Value::Null } else { commands.into() },
    });
    let record = Ping { app: claims.app, client_id: claims.client_id, info, token_given: token.is_some() };
    shared.record(&mut state, Record::Ping(Box::new(record)));
    Ok(answer)
}

/// `GET` or `POST /App/Logout`: the reason is mandatory, the token stays good.
pub fn logout(shared: &Shared, call: &Call) -> Result<Value, Refusal> {
    let reason = call.parameter("reason").ok_or_else(|| Refusal::Unbound("reason".to_owned()))?;
    let mut state = shared.state.lock();
    let claims = enter(shared, &mut state, call)?;
    shared.seen(&mut state, &claims.client_id, &claims.app).long_link = false;
    let name = claims.app.clone();
    shared.record(&mut state, Record::Logout(claims.app, claims.client_id, reason.to_owned()));
    Ok(json!({
        "code": null, "secret": null, "name": name, "token": null, "expire": 0, "time": 0, "serverTime": 0,
    }))
}

/// `POST /App/CommandReply`.
pub fn command_reply(shared: &Shared, call: &Call) -> Result<Value, Refusal> {
    let (id, status, data) = call.required(|fields| {
        Ok((fields.integer::<i64>("Id")?, fields.integer::<i32>("Status")?, fields.text("Data")?))
    })?;
    let mut state = shared.state.lock();
    let claims = enter(shared, &mut state, call)?;
    let command = state.commands.iter().find(|command| command.id == id);
    let Some(owner) = command.map(|command| command.app.clone()) else {
        return Err(Refusal::Business(404, format!("找不到命令[{id}]")));
    };
    if owner != claims.app {
        return Err(Refusal::Business(403, "禁止访问".to_owned()));
    }
    let reply = Reply { app: claims.app, client_id: claims.client_id, id, status, data };
    shared.record(&mut state, Record::Reply(reply));
    Ok(json!(1))
}

/// `POST /App/PostEvents`: an array; the answer is how many were taken.
pub fn post_events(shared: &Shared, call: &Call) -> Result<Value, Refusal> {
    let body = call.strict_body()?.unwrap_or_default();
    let events = body.as_array().ok_or_else(|| Refusal::Unbound("$".to_owned()))?;
    for event in events {
        bind_event(Fields::of(event, Style::Strict)?)?;
    }
    let mut state = shared.state.lock();
    let claims = enter(shared, &mut state, call)?;
    shared.record(&mut state, Record::Events(claims.app, events.len()));
    Ok(json!(events.len()))
}

fn bind_event(fields: Fields<'_>) -> Result<(), BindError> {
    fields.integer::<i64>("Time")?;
    for name in ["Type", "Name", "Remark"] {
        fields.text(name)?;
    }
    Ok(())
}

/// The token's app must be there and enabled; the instance is then on the online table.
pub fn enter(shared: &Shared, state: &mut State, call: &Call) -> Result<Claims, Refusal> {
    let claims = shared.authenticate(state, call.token())?;
    if !state.app(&claims.app).is_some_and(|app| app.enabled) {
        return Err(Refusal::Filter(403, "无效客户端！".to_owned()));
    }
    shared.seen(state, &claims.client_id, &claims.app);
    Ok(claims)
}

/// The server compares versions once one is stored and the app's build is old or unknown:
/// then both must read as `System.Version`.
pub fn check_version(app: &mut App, told: Option<&str>) -> Result<(), Refusal> {
    let Some(told) = told.filter(|told| !told.is_empty()) else { return Ok(()) };
    if let Some(stored) = &app.version {
        let is_new_build = app.compile_ms > now_ms() - 30 * DAY_MS;
        if is_new_build {
            return Ok(());
        }
        let told = Version::parse(told).map_err(Refusal::exception)?;
        if told <= Version::parse(stored).map_err(Refusal::exception)? {
            return Ok(());
        }
    }
    app.version = Some(told.to_owned());
    Ok(())
}

/// A command's frame on the notify socket: `PascalCase`, an empty string for no time.
pub fn pascal_command(command: &Command, compile_ms: i64) -> String {
    let expire =
        if compile_ms >= UTC_SINCE_MS { utc_text(command.expire_ms) } else { local_text(command.expire_ms) };
    json!({
        "Id": command.id, "Command": command.command, "Argument": command.argument, "StartTime": "",
        "Expire": expire, "TraceId": trace_parent(command.id), "Status": 0,
    })
    .to_string()
}

fn camel_command(command: &Command, compile_ms: i64) -> Value {
    let expire =
        if compile_ms >= UTC_SINCE_MS { utc_text(command.expire_ms) } else { local_text(command.expire_ms) };
    json!({
        "id": command.id, "command": command.command, "argument": command.argument,
        "startTime": "0001-01-01 00:00:00", "expire": expire, "traceId": trace_parent(command.id), "status": 0,
    })
}

fn trace_parent(id: i64) -> String {
    format!("00-ac15452e1754100000000{:04x}e1234-c0a80164303900{:02x}-01", id & 0xffff, id & 0xff)
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    #[rstest]
    #[case::first(None, 0, "abc", Ok("abc"))]
    #[case::broken_after_stored(Some("1.0"), 0, "abc", Err(()))]
    #[case::stored_is_broken(Some("abc"), 0, "1.0", Err(()))]
    #[case::newer(Some("1.0"), 0, "1.1", Ok("1.1"))]
    #[case::older(Some("1.1"), 0, "1.0", Ok("1.1"))]
    #[case::new_build_is_not_compared(Some("abc"), i64::MAX, "v1", Ok("abc"))]
    #[case::not_told(Some("abc"), 0, "", Ok("abc"))]
    fn versions(
        #[case] stored: Option<&str>,
        #[case] compile_ms: i64,
        #[case] told: &str,
        #[case] expected: Result<&str, ()>,
    ) {
        let mut app = App { version: stored.map(str::to_owned), compile_ms, ..App::default() };
        let checked = check_version(&mut app, Some(told)).map(|()| app.version.unwrap_or_default());
        assert_eq!(checked.map_err(|_| ()), expected.map(str::to_owned));
    }
}

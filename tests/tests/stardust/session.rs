//! The stand-in server, asked by hand: login, tokens, pings, logout, approval.

use super::caller::{Caller, now_ms};
use rstest::rstest;
use serde_json::{Value, json};
use tests::stardust::StarServer;
use tests::stardust::secret::{Proof, md5_hex};

fn login_body(app: &str, secret: Option<&str>) -> Value {
    json!({
        "AppId": app, "Code": app, "Secret": secret, "ClientId": "192.168.1.100@12345", "AppName": "My App",
        "Version": "1.2.3.4", "IP": "192.168.1.100", "Macs": "52-54-00-12-34-56", "UUID": "u", "Time": now_ms(),
    })
}

fn salted(secret: &str, at_s: i64) -> String {
    format!("$md5${at_s}${}", md5_hex(&format!("{}{at_s}", md5_hex(secret))))
}

#[tokio::test]
async fn an_unknown_app_gets_a_secret_and_answers_are_camel_case() {
    let server = StarServer::start().unwrap();
    let caller = Caller::new(&server);
    let answer = caller.post("/App/Login", &login_body("MyApp", None)).await;
    assert_eq!(answer["code"], 0);
    let data = answer["data"].as_object().unwrap();
    let keys: Vec<&str> = data.keys().map(String::as_str).collect();
    assert_eq!(keys, ["code", "expire", "name", "secret", "serverTime", "time", "token"]);
    assert_eq!(
        (&data["code"], &data["name"], &data["expire"]),
        (&json!("MyApp"), &json!("MyApp"), &json!(7200))
    );
    let secret = data["secret"].as_str().unwrap();
    assert_eq!(secret.len(), 16);
    assert_eq!(data["token"].as_str().unwrap().split('.').count(), 3);

    let again = caller.post("/APP/LOGIN", &login_body("myapp", Some(&salted(secret, now_ms() / 1000)))).await;
    assert_eq!((&again["data"]["code"], &again["data"]["secret"]), (&Value::Null, &Value::Null));
    let proofs: Vec<Proof> = server.logins().iter().map(|login| login.proof).collect();
    assert_eq!(proofs, [Proof::NewApp, Proof::Salted]);
}

#[rstest]
#[case::right_now(0, Proof::Salted)]
#[case::just_in_time(-595, Proof::Salted)]
#[case::too_old(-605, Proof::Wrong)]
#[tokio::test]
async fn a_salted_secret_has_its_time(#[case] age_s: i64, #[case] expected: Proof) {
    let server = StarServer::start().unwrap();
    server.edit_app("MyApp", |app| app.secret = "MySecret".to_owned());
    let secret = salted("MySecret", now_ms() / 1000 + age_s);
    let answer = Caller::new(&server).post("/App/Login", &login_body("MyApp", Some(&secret))).await;
    assert_eq!(answer["code"], 0);
    assert_eq!(server.logins()[0].proof, expected);
    let handed_out = if expected == Proof::Wrong { json!("MySecret") } else { Value::Null };
    assert_eq!(answer["data"]["secret"], handed_out);
}

#[tokio::test]
async fn refusals_of_a_login() {
    let server = StarServer::start().unwrap();
    let caller = Caller::new(&server);
    server.edit_app("MyApp", |app| app.secret = "MySecret".to_owned());
    server.edit_app("Gone", |app| app.enabled = false);

    let broken = caller.post("/App/Login", &login_body("MyApp", Some("$md5$1754100000"))).await;
    assert_eq!(broken["code"], 500);
    let disabled = caller.post("/App/Login", &login_body("Gone", None)).await;
    assert_eq!(disabled, json!({ "code": 403, "message": "禁止登录" }));
    let nameless = caller.post("/App/Login", &login_body("", None)).await;
    assert_eq!(nameless["code"], 500);
    let (status, kind, _) = caller.raw("/App/Login", "application/json", "", r#"{"AppId":5}"#).await;
    assert_eq!((status, kind.as_str()), (400, "application/problem+json; charset=utf-8"));
    let (status, kind, _) = caller.raw("/App/Login", "text/plain", "", "{}").await;
    assert_eq!((status, kind.as_str()), (415, "application/problem+json; charset=utf-8"));
    assert_eq!(caller.raw("/App/Nothing", "application/json", "", "{}").await.0, 404);

    server.edit_settings(|settings| settings.reject_wrong_secret = true);
    assert_eq!(caller.post("/App/Login", &login_body("MyApp", Some("wrong"))).await["code"], 401);
}

#[tokio::test]
async fn an_app_can_wait_for_approval() {
    let server = StarServer::start().unwrap();
    let caller = Caller::new(&server);
    server.edit_settings(|settings| settings.auto_register = false);
    let first = caller.post("/App/Login", &login_body("MyApp", None)).await;
    assert_eq!(
        (&first["code"], &first["data"]["token"], &first["data"]["expire"]),
        (&json!(0), &Value::Null, &json!(0))
    );
    assert_eq!(first["data"]["secret"].as_str().unwrap().len(), 16);
    assert_eq!(caller.post("/App/Login", &login_body("MyApp", None)).await["code"], 403);
    server.edit_app("MyApp", |app| app.enabled = true);
    let secret = first["data"]["secret"].as_str();
    assert!(caller.post("/App/Login", &login_body("MyApp", secret)).await["data"]["token"].is_string());
}

#[tokio::test]
async fn a_ping_as_in_the_vector() {
    let server = StarServer::start().unwrap();
    let mut caller = Caller::new(&server);
    let body = json!({
        "Id": 12345, "Name": "myapp", "Version": "1.2.3.4", "CommandLine": "/usr/bin/myapp", "UserName": "app",
        "MachineName": "host1", "IP": "192.168.1.100", "StartTime": "2026-08-02T10:00:00", "ProcessorTime": 50000,
        "CpuUsage": 0.15, "WorkingSet": 104_857_600, "HeapSize": 0, "Threads": 25, "Handles": 300,
        "Connections": 5, "Time": 1_754_100_000_000_i64,
    });
    let unknown = caller.post("/App/Ping", &body).await;
    assert_eq!((&unknown["code"], &unknown["message"]), (&json!(401), &json!("认证失败")));
    assert!(unknown["traceId"].is_string());

    caller.login("MyApp", "192.168.1.100@12345").await;
    let answer = caller.post("/App/Ping", &body).await;
    let data = answer["data"].as_object().unwrap();
    assert_eq!((&data["time"], &data["period"]), (&json!(1_754_100_000_000_i64), &json!(60)));
    assert_eq!(
        (&data["token"], &data["commands"], &data["newServer"]),
        (&Value::Null, &Value::Null, &Value::Null)
    );
    let ping = &server.pings()[0];
    assert_eq!(
        (ping.client_id.as_str(), ping.info.threads, ping.info.working_set_bytes),
        ("192.168.1.100@12345", 25, 104_857_600)
    );

    assert_eq!(caller.raw("/App/Ping", "application/json", "", r#"{"StartTime":null}"#).await.0, 400);
    assert_eq!(caller.raw("/App/Ping", "application/json", "", "").await.0, 400);
}

#[tokio::test]
async fn tokens_end_and_are_renewed_by_ping() {
    let server = StarServer::start().unwrap();
    let mut caller = Caller::new(&server);
    server.edit_settings(|settings| settings.token_lifetime_s = 599);
    caller.login("MyApp", "10.0.0.1@1").await;
    let renewed = caller.post("/App/Ping", &json!({})).await["data"]["token"].as_str().unwrap().to_owned();

    server.expire_tokens();
    let late = caller.post("/App/Ping", &json!({})).await;
    assert_eq!((&late["code"], &late["message"]), (&json!(401), &json!("非法访问[MyApp] 令牌已过期")));
    assert_eq!(caller.post("/Trace/Report", &json!({ "AppId": "MyApp" })).await["code"], 401);
    caller.token = Some(renewed);
    assert_eq!(caller.post("/App/Ping", &json!({})).await["code"], 401);
    caller.login("MyApp", "10.0.0.1@1").await;
    assert_eq!(caller.post("/App/Ping", &json!({})).await["code"], 0);
    caller.token = Some("a.b.c".to_owned());
    assert_eq!(caller.post("/App/Ping", &json!({})).await["message"], "非法访问[] JWT格式不正确");
}

#[rstest]
#[case::query("?tOKEN={}", &[])]
#[case::bearer("", &[("authorization", "Bearer {}")])]
#[case::bare("", &[("authorization", "{}")])]
#[case::x_token("", &[("x-token", "{}")])]
#[case::cookie("", &[("cookie", "a=b; Token={}")])]
#[case::query_before_header("?token={}", &[("authorization", "Bearer a.b.c")])]
#[case::empty_query("?token=", &[("authorization", "Bearer {}")])]
#[tokio::test]
async fn places_of_the_token(#[case] query: &str, #[case] headers: &[(&'static str, &str)]) {
    let server = StarServer::start().unwrap();
    let mut caller = Caller::new(&server);
    caller.login("MyApp", "10.0.0.1@1").await;
    let token = caller.token.take().unwrap();
    let headers: Vec<_> = headers.iter().map(|(name, value)| (*name, value.replace("{}", &token))).collect();
    let answer =
        caller.post_with(&format!("/App/Ping{}", query.replace("{}", &token)), &headers, &json!({})).await;
    assert_eq!(answer["code"], 0);
}

#[tokio::test]
async fn logout_needs_a_reason() {
    let server = StarServer::start().unwrap();
    let mut caller = Caller::new(&server);
    caller.login("MyApp", "10.0.0.1@1").await;
    assert_eq!(caller.raw("/App/Logout", "application/json", "", "").await.0, 400);
    let answer = caller.get("/App/Logout?reason=Dispose").await;
    assert_eq!(
        (&answer["code"], &answer["data"]["name"], &answer["data"]["token"]),
        (&json!(0), &json!("MyApp"), &Value::Null)
    );
    assert_eq!(server.logouts(), [("MyApp".into(), "10.0.0.1@1".into(), "Dispose".into())]);
    assert_eq!(caller.post("/App/Ping", &json!({})).await["code"], 0, "the token stays good");
}

#[tokio::test]
async fn versions_that_net_cannot_read_break_the_next_ping() {
    let server = StarServer::start().unwrap();
    let mut caller = Caller::new(&server);
    server.edit_app("MyApp", |app| app.version = Some("1.0.0-beta".to_owned()));
    caller.login("MyApp", "10.0.0.1@1").await;
    assert_eq!(caller.post("/App/Ping", &json!({ "Version": "1.0" })).await["code"], 500);
    assert_eq!(caller.post("/App/Ping", &json!({})).await["code"], 0);
    let report = json!({ "AppId": "MyApp", "Info": { "Version": "1.0" } });
    assert_eq!(caller.post("/Trace/Report", &report).await["code"], 500);
}

#[tokio::test]
async fn one_client_id_has_one_row() {
    let server = StarServer::start().unwrap();
    let mut first = Caller::new(&server);
    let mut second = Caller::new(&server);
    first.login("One", "10.0.0.1@1").await;
    second.login("Two", "10.0.0.1@1").await;
    assert_eq!(server.instances()["10.0.0.1@1"].app, "Two");
    first.post("/App/Ping", &json!({})).await;
    assert_eq!(server.instances()["10.0.0.1@1"].app, "One");
    let moves: Vec<_> = server.takeovers().into_iter().map(|(_, old, new)| (old, new)).collect();
    assert_eq!(moves, [("One".into(), "Two".into()), ("Two".into(), "One".into())]);
}

#[tokio::test]
async fn the_older_way_in_takes_the_plain_secret_only() {
    let server = StarServer::start().unwrap();
    let caller = Caller::new(&server);
    let ask = |secret: &str| json!({ "grant_type": "password", "username": "MyApp", "password": secret, "clientId": "10.0.0.1@1" });
    let made = caller.post("/OAuth/Token", &ask("MySecret")).await;
    assert_eq!((&made["data"]["token_type"], &made["data"]["expire_in"]), (&json!("JWT"), &json!(7200)));
    assert_eq!(caller.post("/OAuth/Token", &ask(&salted("MySecret", now_ms() / 1000))).await["code"], 403);
    let token = &made["data"]["refresh_token"];
    let refresh = json!({ "grant_type": "refresh_token", "refresh_token": token, "clientId": "10.0.0.1@1" });
    assert!(caller.post("/OAuth/Token", &refresh).await["data"]["access_token"].is_string());
}

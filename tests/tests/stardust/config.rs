//! The configuration center: versions, scopes, references, who may ask.

use serde_json::{Value, json};
use tests::stardust::StarServer;

use super::caller::Caller;

async fn ask(caller: &Caller, version: i32, scope: &str) -> Value {
    let body = json!({ "AppId": "MyApp", "ClientId": "10.0.0.1@1", "Scope": scope, "Version": version });
    caller.post("/Config/GetAll", &body).await
}

#[tokio::test]
async fn changed_and_unchanged() {
    let server = StarServer::start().unwrap();
    let mut caller = Caller::new(&server);
    caller.login("MyApp", "10.0.0.1@1").await;
    server.set_config("MyApp", "database:host", "", "db1");
    server.set_config("MyApp", "database:host", "dev", "db2");
    server.set_config("MyApp", "_hidden", "", "x");
    let before = ask(&caller, 0, "").await;
    assert_eq!((&before["data"]["version"], &before["data"]["nextVersion"]), (&json!(1), &json!(2)));
    assert_eq!(before["data"]["configs"], json!({}), "not published yet");

    server.publish("MyApp");
    let data = &ask(&caller, 1, "").await["data"];
    assert_eq!((&data["version"], &data["configs"]), (&json!(2), &json!({ "database:host": "db1" })));
    assert_eq!((&data["nextPublish"], &data["sourceIP"]), (&json!(""), &json!("127.0.0.1")));
    assert_eq!(data["updateTime"].as_str().unwrap().len(), 19);
    assert_eq!(ask(&caller, 2, "").await["data"]["configs"], Value::Null);
    let scoped = ask(&caller, 2, "dev").await;
    assert_eq!(scoped["data"]["configs"], json!({ "database:host": "db2" }), "another scope, same version");
    assert_eq!(scoped["data"]["scope"], "dev");
    assert_eq!(ask(&caller, 2, "dev").await["data"]["configs"], Value::Null);

    let path = "/Config/GetAll?appId=MyApp&clientId=10.0.0.1@1&scope=dev&version=2";
    let by_get = &caller.get(path).await["data"];
    assert_eq!(
        (&by_get["version"], &by_get["configs"], &by_get["nextVersion"]),
        (&json!(2), &Value::Null, &json!(0))
    );
    assert_eq!(
        caller.get(&path.replace("10.0.0.1@1", "10.0.0.1@2")).await["data"]["configs"]["database:host"],
        "db2"
    );
}

#[tokio::test]
async fn references_and_global_keys() {
    let server = StarServer::start().unwrap();
    let mut caller = Caller::new(&server);
    caller.login("MyApp", "10.0.0.1@1").await;
    server.set_config("Common", "region", "", "eu");
    server.set_config("Common", "own", "", "theirs");
    server.set_config("MyApp", "own", "", "mine-${name}-${region@Common}!");
    server.set_config("MyApp", "name", "", "n");
    server.publish("Common");
    server.publish("MyApp");
    let expected = json!({ "name": "n", "own": "mine-n-eu!", "region": "eu" });
    assert_eq!(ask(&caller, 0, "").await["data"]["configs"], expected);
    server.set_config("MyApp", "bad", "", "${nowhere}");
    server.publish("MyApp");
    assert_eq!(ask(&caller, 0, "").await["code"], 500);
}

#[tokio::test]
async fn who_may_ask() {
    let server = StarServer::start().unwrap();
    let mut caller = Caller::new(&server);
    server.edit_app("MyApp", |app| app.secret = "MySecret".to_owned());
    let with = |secret: &str| json!({ "AppId": "MyApp", "Secret": secret });
    let denied = caller.post("/Config/GetAll", &with("wrong")).await;
    assert_eq!(denied, json!({ "code": 403, "message": "非法访问应用[MyApp]！" }));
    assert_eq!(caller.post("/Config/GetAll", &with("MySecret")).await["code"], 0);
    assert_eq!(caller.post("/Config/GetAll", &json!({})).await["code"], 500);
    assert_eq!(caller.post("/Config/GetAll", &json!({ "Version": null })).await["code"], 500);

    caller.login("MyApp", "10.0.0.1@1").await;
    assert_eq!(caller.post("/Config/GetAll", &json!({})).await["code"], 0);
    let hidden = caller.post("/Config/GetAll?Token=", &json!({ "AppId": "MyApp" })).await;
    assert_eq!(hidden["code"], 403, "an empty token in the query hides the header");
    server.edit_app("MyApp", |app| app.config.enabled = false);
    assert_eq!(caller.post("/Config/GetAll", &json!({})).await["code"], 500);
    server.edit_app("MyApp", |app| app.enabled = false);
    assert_eq!(caller.post("/Config/GetAll", &json!({})).await["code"], 403);
}

#[tokio::test]
async fn keys_are_added_but_never_overwritten() {
    let server = StarServer::start().unwrap();
    let mut caller = Caller::new(&server);
    caller.login("MyApp", "10.0.0.1@1").await;
    let body = json!({ "AppId": "MyApp", "Configs": { "a": "1", "b": { "Value": "2", "Comment": "c" } } });
    assert_eq!(caller.post("/Config/SetAll", &body).await["data"], 2);
    assert_eq!(caller.post("/Config/SetAll", &body).await["data"], 0);
    server.publish("MyApp");
    assert_eq!(ask(&caller, 0, "").await["data"]["configs"], json!({ "a": "1", "b": "2" }));
}

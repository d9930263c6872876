//! The configuration center and the push channel.

use std::collections::BTreeMap;

use report::Remote;
use report::stardust::Settings;
use serde_json::json;

use crate::rig::{REFUSED, Rig, process, settings, until};
use crate::stand::{Answer, Call, Stand, no, ok};

const CONFIG: &str = "/Config/GetAll";
const REPLY: &str = "/App/CommandReply";

fn configs(rig: &Rig) -> Vec<BTreeMap<String, String>> {
    let remotes = rig.remotes.lock().expect("no panic");
    let of = |remote: &Remote| match remote {
        Remote::Config { values, .. } => Some(values.clone()),
        Remote::HeadLimits { .. } => None,
    };
    remotes.iter().filter_map(of).collect()
}

fn map(key: &str, value: &str) -> BTreeMap<String, String> {
    BTreeMap::from([(key.to_owned(), value.to_owned())])
}

/// Every answer is the next version, but the third is unchanged.
fn versions(call: &Call, before: usize) -> Option<Answer> {
    if !call.is(CONFIG) {
        return None;
    }
    let keys = json!({"probe.sampling.rate": format!("0.{before}")});
    let keys = if before == 2 { json!(null) } else { keys };
    Some(ok(
        &json!({"version": before + 3, "scope": "", "updateTime": "2026-08-02 10:00:00", "configs": keys}),
    ))
}

#[tokio::test]
async fn an_app_s_keys_are_fetched_once() {
    let stand = Stand::start(versions).await;
    let rig = Rig::with(Settings { scope: "pro".to_owned(), ..settings(&[&stand.url]) });
    rig.hit(&process(11));
    let query = stand.wait_nth(CONFIG, 1).await;
    assert_eq!(query.body["AppId"], "shop");
    assert_eq!((&query.body["Scope"], &query.body["Version"]), (&json!("pro"), &json!(0)));
    assert!(query.body.get("Secret").is_none());
    assert_eq!(query.header("authorization"), "Bearer token-1");
    rig.hit(&process(22));
    stand
        .wait("the second process's channel", |calls| {
            (calls.iter().filter(|call| call.is("channel opened")).count() == 2).then_some(())
        })
        .await;
    assert_eq!(stand.calls_of(CONFIG).len(), 1);
    assert_eq!(configs(&rig), [map("probe.sampling.rate", "0.0")]);
    rig.stop().await;
}

#[tokio::test]
async fn a_publication_is_fetched_and_answered_once() {
    let stand = Stand::start(versions).await;
    let rig = Rig::start(&stand);
    rig.hit(&process(11));
    stand.wait_nth("channel opened", 1).await;
    assert_eq!(stand.wait_nth("frame", 1).await.body, "Ping");
    stand.push("Pong");
    stand.push("event#topic#client#payload");
    for _ in 0..2 {
        stand.push(r#"{"Id":5,"Command":"config/publish","Argument":"","StartTime":"","Expire":"2999-01-01T00:00:00Z","TraceId":"","Status":0}"#);
    }
    stand.push(r#"{"Id":6,"Command":"app/freeMemory","Argument":"","Expire":""}"#);
    stand.push(r#"{"id":7,"command":"config/publish","expire":"2020-01-01T00:00:00Z"}"#);
    stand.push("Ping");
    stand.wait("a pong", |calls| calls.iter().any(|call| call.body == "Pong").then_some(())).await;
    let replies: Vec<(i64, i64)> = stand
        .calls_of(REPLY)
        .iter()
        .map(|reply| (reply.body["Id"].as_i64().unwrap_or(0), reply.body["Status"].as_i64().unwrap_or(-1)))
        .collect();
    assert_eq!(replies, [(5, 2), (6, 4), (7, 3)]);
    let queries: Vec<i64> =
        stand.calls_of(CONFIG).iter().map(|query| query.body["Version"].as_i64().unwrap_or(-1)).collect();
    assert_eq!(queries, [0, 3]);
    assert_eq!(configs(&rig), [map("probe.sampling.rate", "0.0"), map("probe.sampling.rate", "0.1")]);

    // The third answer says: unchanged.
    stand.push(r#"{"Id":8,"Command":"config/publish"}"#);
    stand.wait_nth(REPLY, 4).await;
    assert_eq!(configs(&rig).len(), 2);
    rig.stop().await;
}

#[tokio::test]
async fn a_publication_that_is_refused_is_answered_so() {
    let stand = Stand::start(|call, before| {
        let configs = match before {
            1 => json!({"probe.sampling.rate": REFUSED}),
            2 => json!(null),
            _ => json!({"probe.sampling.rate": "0.5"}),
        };
        call.is(CONFIG).then(|| ok(&json!({"version": before + 3, "scope": "", "configs": configs})))
    })
    .await;
    let rig = Rig::start(&stand);
    rig.hit(&process(11));
    stand.wait_nth("channel opened", 1).await;
    for id in 1..=3 {
        stand.push(&json!({"Id": id, "Command": "config/publish"}).to_string());
        stand.wait_nth(REPLY, id).await;
    }
    let replies = stand.calls_of(REPLY);
    let told: Vec<_> = replies.iter().map(|reply| (&reply.body["Status"], &reply.body["Data"])).collect();
    let refused = json!("the configuration is refused, the old one stays: it is refused");
    // The second publication brings nothing new: what was refused still is.
    assert_eq!(told[..2], [(&json!(4), &refused), (&json!(4), &refused)]);
    assert_eq!(told[2], (&json!(2), &json!("the configuration is in force")));
    rig.stop().await;
}

#[tokio::test]
async fn commands_come_with_pings_too() {
    let stand = Stand::start(|call, before| {
        let command = json!({"id": 5, "command": "config/publish", "expire": "0001-01-01 00:00:00"});
        let answer = json!({"time": 0, "period": 1, "token": null, "commands": [command]});
        (call.is("/App/Ping") && before < 2).then(|| ok(&answer))
    })
    .await;
    let rig = Rig::start(&stand);
    rig.hit(&process(11));
    stand.wait_nth("/App/Ping", 3).await;
    assert_eq!(stand.calls_of(REPLY).len(), 1);
    rig.stop().await;
}

#[tokio::test]
async fn a_channel_that_breaks_is_opened_again() {
    let stand = Stand::start(|call, before| (call.is("/App/Notify") && before == 0).then(|| no(401))).await;
    let rig = Rig::start(&stand);
    rig.hit(&process(11));
    stand.wait_nth("channel opened", 1).await;
    let tries: Vec<String> =
        stand.calls_of("/App/Notify").iter().map(|call| call.header("authorization").to_owned()).collect();
    assert_eq!(tries, ["Bearer token-1", "Bearer token-2"]);
    rig.stop().await;
}

#[tokio::test]
async fn without_the_configuration_center_nothing_is_asked() {
    let stand = Stand::start(|_, _| None).await;
    let rig = Rig::with(Settings { config_enabled: false, ..settings(&[&stand.url]) });
    rig.hit(&process(11));
    stand.wait_nth("/App/Ping", 2).await;
    assert_eq!(stand.calls_of(CONFIG).len(), 0);
    until("quiet", || configs(&rig).is_empty()).await;
    rig.stop().await;
}

//! Who the probe says it is, and what it does when that is not believed.

use std::os::unix::fs::PermissionsExt as _;

use report::stardust::Settings;
use serde_json::json;

use crate::rig::{Rig, process, settings, settings_in, until};
use crate::stand::{Answer, Stand, no, ok};

const LOGIN: &str = "/App/Login";
const REPORT: &str = "/Trace/ReportRaw";

fn is_salted(secret: &serde_json::Value) -> bool {
    secret.as_str().is_some_and(|secret| secret.starts_with("$md5$") && secret.split('$').count() == 4)
}

#[tokio::test]
async fn every_process_logs_in_for_itself() {
    let stand = Stand::start(|_, _| None).await;
    let rig = Rig::start(&stand);
    rig.hit(&process(11));
    let first = stand.wait_nth(LOGIN, 1).await;
    rig.hit(&process(22));
    let second = stand.wait_nth(LOGIN, 2).await;
    for (login, pid) in [(&first, "@11"), (&second, "@22")] {
        assert_eq!((&login.body["AppId"], &login.body["Code"]), (&json!("shop"), &json!("shop")));
        assert!(login.body["ClientId"].as_str().is_some_and(|id| id.ends_with(pid)), "{login:?}");
        assert!(is_salted(&login.body["Secret"]));
        assert_eq!(login.body["Version"], "1.4.2");
        assert!(login.body["Compile"].as_i64().is_some_and(|ms| ms >= 1_735_689_600_000));
        assert!(login.header("user-agent").starts_with("stardust-probe/"));
        assert_eq!(login.header("authorization"), "");
    }
    stand.wait_nth(REPORT, 2).await;
    for report in stand.calls_of(REPORT) {
        let own = if report.body["ClientId"] == first.body["ClientId"] { "token-1" } else { "token-2" };
        assert_eq!(report.header("authorization"), format!("Bearer {own}"));
        assert_eq!(report.query, "");
    }
    rig.stop().await;
}

#[tokio::test]
async fn the_plain_secret_needs_leave() {
    for allowed in [false, true] {
        let stand =
            Stand::start(|call, _| (call.is(LOGIN) && is_salted(&call.body["Secret"])).then(|| no(401)))
                .await;
        let rig = Rig::with(Settings { allow_plain_secret: allowed, ..settings(&[&stand.url]) });
        rig.hit(&process(11));
        if allowed {
            stand.wait_nth(REPORT, 1).await;
            assert_eq!(stand.calls_of(LOGIN)[1].body["Secret"], "MySecret");
        } else {
            stand.wait_nth(LOGIN, 4).await;
            assert!(stand.calls_of(LOGIN).iter().all(|login| is_salted(&login.body["Secret"])));
        }
        rig.stop().await;
    }
}

#[tokio::test]
async fn a_secret_handed_back_is_kept_and_used() {
    let stand = Stand::start(|call, before| {
        let granted = json!({"code": "Shop", "secret": "x8Kq0aBcDeFgHiJk", "token": "t", "expire": 7200});
        (call.is(LOGIN) && before == 0).then(|| ok(&granted))
    })
    .await;
    let dir = tempfile::tempdir().expect("a directory");
    let rig = Rig::with(Settings { secret: None, ..settings_in(dir.path(), &stand) });
    rig.hit(&process(11));
    let report = stand.wait_nth(REPORT, 1).await;
    assert!(stand.calls_of(LOGIN)[0].body.get("Secret").is_none());
    assert_eq!((&report.body["AppId"], &report.body["AppName"]), (&json!("Shop"), &json!("shop")));
    rig.stop().await;
    let file = dir.path().join("stardust/shop.json");
    assert_eq!(file.metadata().expect("kept").permissions().mode() & 0o777, 0o600);
    assert!(std::fs::read_to_string(&file).expect("readable").contains("x8Kq0aBcDeFgHiJk"));

    let rig = Rig::with(Settings { secret: None, ..settings_in(dir.path(), &stand) });
    rig.hit(&process(12));
    let again = stand.wait_nth(LOGIN, 2).await;
    assert_eq!(again.body["AppId"], "Shop");
    assert!(is_salted(&again.body["Secret"]));
    rig.stop().await;
}

#[tokio::test]
async fn an_app_that_waits_for_approval_loses_no_count() {
    let stand = Stand::start(|call, before| {
        let waiting = json!({"code": "shop", "secret": "s", "name": "shop", "token": null, "expire": 0});
        match before {
            0 | 1 if call.is(LOGIN) => Some(ok(&waiting)),
            2 if call.is(LOGIN) => Some(no(403)),
            _ => None,
        }
    })
    .await;
    let rig = Rig::start(&stand);
    for _ in 0..5 {
        rig.hit(&process(11));
    }
    let report = stand.wait_nth(REPORT, 1).await;
    assert_eq!(stand.calls_of(LOGIN).len(), 4);
    assert_eq!(report.total("/a"), 5);
    let books = rig.stop().await;
    assert_eq!((books.seen, books.reported, books.in_flight()), (5, 5, 0));
}

#[tokio::test]
async fn a_token_not_taken_leads_to_one_login_and_one_more_try() {
    let stand = Stand::start(|call, before| (call.is(REPORT) && before == 0).then(|| no(401))).await;
    let rig = Rig::start(&stand);
    rig.hit(&process(11));
    stand.wait_nth(REPORT, 2).await;
    let reports = stand.calls_of(REPORT);
    assert_eq!(reports[0].body, reports[1].body);
    assert_eq!(reports[1].header("authorization"), "Bearer token-2");
    assert_eq!(stand.calls_of(LOGIN).len(), 2);
    let books = rig.stop().await;
    assert_eq!((books.reported, books.in_flight()), (1, 0));
}

#[tokio::test]
async fn a_token_never_taken_is_not_tried_for_ever() {
    let stand = Stand::start(|call, _| call.is(REPORT).then(|| no(401))).await;
    let rig = Rig::start(&stand);
    rig.hit(&process(11));
    until("dropped", || rig.dropped() == 1).await;
    assert_eq!(stand.calls_of(REPORT).len(), 2);
    rig.stop().await;
}

#[tokio::test]
async fn a_ping_renews_the_token() {
    let stand = Stand::start(|call, before| {
        let renewed = json!({"time": 0, "serverTime": 0, "period": 1, "token": "renewed", "commands": null});
        (call.is("/App/Ping") && before == 0).then(|| ok(&renewed))
    })
    .await;
    let rig = Rig::start(&stand);
    rig.hit(&process(11));
    let ping = stand.wait_nth("/App/Ping", 2).await;
    assert_eq!(ping.header("authorization"), "Bearer renewed");
    assert_eq!(stand.calls_of(LOGIN).len(), 1);
    rig.stop().await;
}

#[tokio::test]
async fn a_ping_forbidden_leads_to_a_login() {
    let stand = Stand::start(|call, before| (call.is("/App/Ping") && before == 0).then(|| no(403))).await;
    let rig = Rig::start(&stand);
    rig.hit(&process(11));
    stand.wait_nth(LOGIN, 2).await;
    rig.stop().await;
}

#[tokio::test]
async fn what_is_no_stardust_is_asked_again() {
    let stand = Stand::start(|call, before| match before {
        0 if call.is(LOGIN) => Some(Answer::Says(404, json!("not here"))),
        1 if call.is(LOGIN) => Some(Answer::Says(200, json!("<html>"))),
        2 if call.is(LOGIN) => Some(Answer::Says(302, json!(""))),
        _ => None,
    })
    .await;
    let rig = Rig::start(&stand);
    rig.hit(&process(11));
    assert_eq!(stand.wait_nth(REPORT, 1).await.total("/a"), 1);
    assert_eq!(stand.calls_of(LOGIN).len(), 4);
    rig.stop().await;
}

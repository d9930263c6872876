//! Reports: what is taken, what is silently not, what is answered.

use std::io::Write as _;

use flate2::Compression;
use flate2::write::GzEncoder;
use rstest::rstest;
use serde_json::{Value, json};
use tests::stardust::StarServer;
use tests::stardust::journal::Skip;

use super::caller::{Caller, now_ms};

fn builder(name: &str) -> Value {
    let start = now_ms() - 60_000;
    json!({
        "Name": name, "StartTime": start, "EndTime": start + 60_000, "Total": 150, "Errors": 2, "Cost": 4500,
        "MaxCost": 230, "MinCost": 5, "Value": 0,
        "Samples": [{
            "Id": "c0a8016430390001", "ParentId": null, "TraceId": "4bf92f3577b34da6a3ce929d0e0e4736",
            "StartTime": start + 10_000, "EndTime": start + 10_050, "Value": 0,
            "Tag": "10.0.0.9 GET http://h/api/user?id=1", "TraceFlag": 1, "Error": null,
        }],
        "ErrorSamples": [{
            "Id": "c0a8016430390002", "ParentId": null, "TraceId": "0af7651916cd43dd8448eb211c80319c",
            "StartTime": start + 20_000, "EndTime": start + 20_100, "Value": 0, "Tag": "…", "TraceFlag": 1,
            "Error": "Http Error 500 InternalServerError",
        }],
    })
}

fn report(builders: &[Value]) -> Value {
    json!({
        "AppId": "MyApp", "AppName": "My App", "ClientId": "192.168.1.100@12345", "Version": "1.2.3.4",
        "Builders": builders,
    })
}

fn gzip(text: &str) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(text.as_bytes()).unwrap();
    encoder.finish().unwrap()
}

#[tokio::test]
async fn a_report_as_in_the_vector() {
    let server = StarServer::start().unwrap();
    let caller = Caller::new(&server);
    let answer = caller.post("/Trace/Report", &report(&[builder("/api/user")])).await;
    let expected = json!({ "code": 0, "data": {
        "period": 60, "maxSamples": 1, "maxErrors": 10, "timeout": 5000, "maxTagLength": 1024,
        "requestTagLength": 1024, "enableMeter": true, "excludes": null,
    }});
    assert_eq!(answer, expected);
    caller.post("/Trace/Report", &report(&[builder("/API/user")])).await;
    let totals = server.totals("MyApp");
    let user = &totals["/api/user"];
    assert_eq!((totals.len(), user.total, user.errors, user.cost_ms), (1, 300, 4, 9000));
    assert_eq!((user.samples.len(), user.error_samples.len()), (2, 2));
    assert_eq!(user.samples[0].trace_id, "4bf92f3577b34da6a3ce929d0e0e4736");
    assert_eq!(user.error_samples[0].error.as_deref(), Some("Http Error 500 InternalServerError"));
}

#[rstest]
#[case::fraction("Cost", json!(4500.5))]
#[case::whole_fraction("Total", json!(150.0))]
#[case::null_number("Value", Value::Null)]
#[case::too_large("Total", json!(3_000_000_000_i64))]
#[case::number_for_text("Name", json!(5))]
#[tokio::test]
async fn a_type_error_loses_the_batch_silently(#[case] field: &str, #[case] value: Value) {
    let server = StarServer::start().unwrap();
    let caller = Caller::new(&server);
    let mut broken = builder("/api/user");
    broken[field] = value;
    let body = report(&[broken]);
    assert_eq!(caller.post("/Trace/Report", &body).await, json!({ "code": 0, "data": null }));
    assert!(server.totals("MyApp").is_empty() && server.reports().is_empty());
    let lenient = caller.raw("/Trace/ReportRaw", "application/octet-stream", "", body.to_string()).await;
    assert!(lenient.2.contains("maxSamples"), "the raw one takes it: {}", lenient.2);
}

#[rstest]
#[case::no_app(json!({ "Builders": [] }).to_string())]
#[case::empty_app(json!({ "AppId": "" }).to_string())]
#[case::not_json("{".to_owned())]
#[case::comma(r#"{"AppId":"MyApp",}"#.to_owned())]
#[case::null("null".to_owned())]
#[tokio::test]
async fn what_names_no_app_is_ignored(#[case] body: String) {
    let server = StarServer::start().unwrap();
    let (status, _, text) = Caller::new(&server).raw("/Trace/Report", "application/json", "", body).await;
    assert_eq!((status, text.as_str()), (200, r#"{"code":0,"data":null}"#));
}

#[tokio::test]
async fn names_are_judged_one_by_one() {
    let server = StarServer::start().unwrap();
    server.edit_tracer("MyApp", |tracer| {
        tracer.excludes = vec!["/health*".to_owned()];
        tracer.disabled_names = vec!["/Off".to_owned()];
    });
    let at = |days: i64| {
        let mut builder = builder(&format!("/at{days}"));
        builder["StartTime"] = json!(now_ms() + days * 86_400_000 + 1000);
        builder
    };
    let long = "/".to_owned() + &"x".repeat(199);
    let builders = [
        builder(""),
        builder(&long),
        builder(&(long.clone() + "y")),
        builder("/healthz"),
        builder("/a/health"),
        builder("/off"),
        at(-4),
        at(-2),
        at(1),
        Value::Null,
        builder("/late"),
    ];
    let answer = Caller::new(&server).post("/Trace/Report", &report(&builders)).await;
    assert_eq!(answer["data"]["excludes"], json!(["/health*"]));
    let seen = &server.reports()[0];
    let taken: Vec<&str> = seen.taken.iter().map(|taken| taken.0.as_str()).collect();
    assert_eq!(taken, [long.as_str(), "/a/health", "/at-2"]);
    let skips: Vec<Skip> = seen.skipped.iter().map(|skipped| skipped.1).collect();
    let expected = [
        Skip::NoName,
        Skip::NameTooLong,
        Skip::Excluded,
        Skip::Disabled,
        Skip::TooOld,
        Skip::TooFarAhead,
        Skip::BatchBroken,
    ];
    assert_eq!(skips, expected);
}

#[tokio::test]
async fn excludes_come_with_a_version_only() {
    let server = StarServer::start().unwrap();
    server.edit_tracer("MyApp", |tracer| tracer.excludes = vec!["/x".to_owned()]);
    let caller = Caller::new(&server);
    for (version, expected) in
        [(json!("1.0"), json!(["/x"])), (json!(""), Value::Null), (Value::Null, Value::Null)]
    {
        let answer = caller.post("/Trace/Report", &json!({ "AppId": "MyApp", "Version": version })).await;
        assert_eq!(answer["data"]["excludes"], expected);
    }
}

#[tokio::test]
async fn a_disabled_tracer_says_so() {
    let server = StarServer::start().unwrap();
    server.edit_tracer("MyApp", |tracer| tracer.enabled = false);
    let answer = Caller::new(&server).post("/Trace/Report", &report(&[builder("/a")])).await;
    assert_eq!(answer, json!({ "code": 500, "message": "应用[MyApp]已禁用！ (Parameter 'appId')" }));
}

#[rstest]
#[case::gzip("application/x-gzip", true, true)]
#[case::gzip_with_parameter("application/x-gzip; charset=utf-8", true, false)]
#[case::gzip_as_other("application/octet-stream", true, false)]
#[case::text("application/octet-stream", false, true)]
#[case::json("application/json", false, true)]
#[case::text_as_gzip("application/x-gzip", false, false)]
#[tokio::test]
async fn the_raw_report_inflates_by_exact_type(
    #[case] kind: &str,
    #[case] zipped: bool,
    #[case] accepted: bool,
) {
    let server = StarServer::start().unwrap();
    let text = report(&[builder("/a")]).to_string();
    let body = if zipped { gzip(&text) } else { text.into_bytes() };
    let (status, _, answer) = Caller::new(&server).raw("/Trace/ReportRaw", kind, "", body).await;
    let answer: Value = serde_json::from_str(&answer).unwrap();
    assert_eq!(status, 200);
    assert_eq!(answer["code"], if accepted { 0 } else { 500 });
    assert_eq!(server.totals("MyApp").contains_key("/a"), accepted);
}

#[tokio::test]
async fn bodies_have_a_limit_and_answers_are_compressed() {
    let server = StarServer::start().unwrap();
    let caller = Caller::new(&server);
    let raw = "application/octet-stream";
    assert_eq!(caller.raw("/Trace/ReportRaw", raw, "", vec![b' '; 30_000_001]).await.0, 413);
    assert_eq!(caller.raw("/Trace/ReportRaw", raw, "", "").await.2, r#"{"code":0,"data":null}"#);

    let plain = reqwest::Client::builder().no_gzip().build().unwrap();
    let ask = |encoding: &'static str| {
        plain.get(format!("{}/api?state=x", server.url())).header("accept-encoding", encoding).send()
    };
    let zipped = ask("gzip").await.unwrap();
    assert_eq!(zipped.headers()["content-encoding"], "gzip");
    assert_eq!(zipped.bytes().await.unwrap()[..2], [0x1f, 0x8b]);
    assert!(ask("identity").await.unwrap().headers().get("content-encoding").is_none());
    assert_eq!(caller.get("/api?state=x").await["data"]["state"], "x");
}

#[tokio::test]
async fn reports_tell_whose_token_they_carry() {
    let server = StarServer::start().unwrap();
    let mut caller = Caller::new(&server);
    caller.login("Other", "10.0.0.1@7").await;
    caller.post("/Trace/Report", &report(&[builder("/a")])).await;
    let seen = &server.reports()[0];
    assert_eq!((seen.app.as_str(), seen.client_id.as_str()), ("MyApp", "192.168.1.100@12345"));
    assert_eq!(
        (seen.token_app.as_deref(), seen.token_client_id.as_deref()),
        (Some("Other"), Some("10.0.0.1@7"))
    );
    assert_eq!(server.app("MyApp").unwrap().secret, "", "made by the report, without a secret");
}

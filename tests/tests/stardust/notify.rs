//! The notify socket and the commands that come by it.

use std::time::Duration;

use futures_util::{SinkExt as _, StreamExt as _};
use serde_json::{Value, json};
use tests::stardust::StarServer;
use tokio::net::TcpStream;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::tungstenite::{Error, Message};

use super::caller::Caller;

type Socket = WebSocketStream<TcpStream>;

async fn open(server: &StarServer, token: Option<&str>) -> Result<Socket, Error> {
    let mut request = format!("ws://{}/App/Notify", server.address()).into_client_request()?;
    if let Some(token) = token {
        request.headers_mut().insert("authorization", format!("Bearer {token}").parse().unwrap());
    }
    let stream = TcpStream::connect(server.address()).await.unwrap();
    Ok(tokio_tungstenite::client_async(request, stream).await?.0)
}

async fn next_text(socket: &mut Socket) -> String {
    let message = tokio::time::timeout(Duration::from_secs(10), socket.next()).await.unwrap();
    message.unwrap().unwrap().into_text().unwrap().to_string()
}

#[tokio::test]
async fn ping_is_answered_and_commands_come_in_pascal_case() {
    let server = StarServer::start().unwrap();
    let mut caller = Caller::new(&server);
    caller.login("MyApp", "10.0.0.1@1").await;
    let mut socket = open(&server, caller.token.as_deref()).await.unwrap();
    socket.send(Message::text("Ping")).await.unwrap();
    assert_eq!(next_text(&mut socket).await, "Pong");
    assert_eq!(server.sockets(), ["MyApp@10.0.0.1@1"]);
    assert!(server.instances()["10.0.0.1@1"].long_link);

    server.set_config("MyApp", "a", "", "1");
    let id = server.publish("MyApp");
    let command: Value = serde_json::from_str(&next_text(&mut socket).await).unwrap();
    let mut keys: Vec<&String> = command.as_object().unwrap().keys().collect();
    keys.sort();
    assert_eq!(keys, ["Argument", "Command", "Expire", "Id", "StartTime", "Status", "TraceId"]);
    assert_eq!((&command["Id"], &command["Command"]), (&json!(id), &json!("config/publish")));

    let by_ping = caller.post("/App/Ping", &json!({})).await;
    assert_eq!(by_ping["data"]["commands"][0]["id"], id, "the same command comes twice");
    assert_eq!(caller.post("/App/Ping", &json!({})).await["data"]["commands"], Value::Null);
    let reply = json!({ "Id": id, "Status": 2, "Data": "done" });
    assert_eq!(caller.post("/App/CommandReply", &reply).await["data"], 1);
    assert_eq!(server.replies()[0].status, 2);
    server.send_text("MyApp", "event#topic#client#payload");
    assert!(next_text(&mut socket).await.starts_with("event#"));
}

#[tokio::test]
async fn a_reply_must_be_to_ones_own_command() {
    let server = StarServer::start().unwrap();
    let mut caller = Caller::new(&server);
    let id = server.send_command("Other", "app/freeMemory", "", 1000);
    caller.login("MyApp", "10.0.0.1@1").await;
    let reply = |id: i64| json!({ "Id": id, "Status": 2 });
    assert_eq!(caller.post("/App/CommandReply", &reply(id)).await["code"], 403);
    assert_eq!(caller.post("/App/CommandReply", &reply(id + 1)).await["code"], 404);
    let events = json!([{ "Time": 1, "Type": "info", "Name": "start", "Remark": "pid=1" }]);
    assert_eq!(caller.post("/App/PostEvents", &events).await["data"], 1);
}

#[tokio::test]
async fn without_a_token_there_is_no_upgrade() {
    let server = StarServer::start().unwrap();
    let mut caller = Caller::new(&server);
    let Err(Error::Http(response)) = open(&server, None).await else { panic!("upgraded without a token") };
    assert_eq!(response.status(), 200);
    assert_eq!(caller.get("/App/Notify").await["code"], 401);
    caller.login("MyApp", "10.0.0.1@1").await;
    let url = format!("{}/App/Notify?Token={}", server.url(), caller.token.unwrap());
    assert_eq!(reqwest::get(url).await.unwrap().status(), 400);
}

#[tokio::test]
async fn a_second_socket_replaces_the_first() {
    let server = StarServer::start().unwrap();
    let mut caller = Caller::new(&server);
    caller.login("MyApp", "10.0.0.1@1").await;
    let mut first = open(&server, caller.token.as_deref()).await.unwrap();
    let mut second = open(&server, caller.token.as_deref()).await.unwrap();
    second.send(Message::text("Ping")).await.unwrap();
    assert_eq!(next_text(&mut second).await, "Pong");
    let end = tokio::time::timeout(Duration::from_secs(10), first.next()).await.unwrap();
    assert!(!matches!(end, Some(Ok(Message::Text(_)))));
    assert_eq!(server.sockets().len(), 1);
}

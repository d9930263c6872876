//! A server that goes away and comes back, and one that speaks HTTPS.

use std::net::SocketAddr;
use std::time::Duration;

use rstest::rstest;
use tests::stardust::{Mode, StarServer};

use super::caller::{Caller, client};

#[derive(Debug, PartialEq, Eq)]
enum Outcome {
    Status(u16),
    NotConnected,
    TimedOut,
    Broken,
}

async fn ask(client: &reqwest::Client, server: &StarServer) -> Outcome {
    let request = client.get(format!("{}/api", server.url())).timeout(Duration::from_millis(300));
    match request.send().await {
        Ok(response) => Outcome::Status(response.status().as_u16()),
        Err(error) if error.is_connect() => Outcome::NotConnected,
        Err(error) if error.is_timeout() => Outcome::TimedOut,
        Err(_) => Outcome::Broken,
    }
}

#[rstest]
#[case(Mode::Refusing, Outcome::NotConnected)]
#[case(Mode::Hanging, Outcome::TimedOut)]
#[case(Mode::Failing, Outcome::Status(500))]
#[tokio::test]
async fn goes_away_and_comes_back_on_the_same_port(#[case] mode: Mode, #[case] expected: Outcome) {
    let server = StarServer::start().unwrap();
    let client = client(None);
    assert_eq!(ask(&client, &server).await, Outcome::Status(200));
    server.set_mode(mode);
    assert_eq!(ask(&client, &server).await, expected);
    server.set_mode(Mode::Serving);
    assert_eq!(ask(&client, &server).await, Outcome::Status(200));
}

#[tokio::test]
async fn speaks_https_to_those_who_trust_its_ca() {
    let server = StarServer::start_at(SocketAddr::from(([127, 0, 0, 1], 0)), true).unwrap();
    assert_eq!(Caller::new(&server).get("/api").await["code"], 0);
    assert_eq!(ask(&client(None), &server).await, Outcome::NotConnected);
}

#[tokio::test]
async fn waiting_ends_with_the_condition_or_the_limit() {
    let server = StarServer::start().unwrap();
    let mut caller = Caller::new(&server);
    assert!(!server.wait_until(Duration::from_millis(20), |server| !server.logins().is_empty()));
    caller.login("MyApp", "10.0.0.1@1").await;
    assert!(server.wait_until(Duration::from_secs(10), |server| !server.logins().is_empty()));
}

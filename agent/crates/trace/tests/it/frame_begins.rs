//! Where frames of HTTP/2 begin, told to a source that asks.

use model::Direction;
use trace::Settings;

use crate::conversation::{World, socket};
use crate::http2::{OK, call, data, frame, get, headers};

/// On a connection that was open before, it is told where frames begin as soon as that is certain; what is large then need
/// not be copied.
#[test]
fn where_frames_begin_is_told() {
    let socket = socket(1).midway();
    let mut world = World::new(&Settings::default());
    let told = |world: &mut World| -> Vec<(Direction, u64)> {
        world.tracer.frame_begins().map(|told| (told.direction, told.position)).collect()
    };
    world.bytes(&socket, Direction::Received, &headers(9, true, &get("/first")));
    let received = headers(9, true, &get("/first")).len() as u64;
    assert_eq!(told(&mut world), [(Direction::Received, received)], "of the other side nothing was seen yet");
    let answer = [headers(9, false, OK), data(9, true, b"ok")].concat();
    world.asking(&socket, Direction::Sent, &answer, answer.len() as u64);
    assert_eq!(told(&mut world), [(Direction::Sent, answer.len() as u64)]);
    assert_eq!(told(&mut world), [], "once for each question");
    let body = [&frame(1, 4, 11, &get("/upload"))[..], &[0, 0x40, 0, 0, 1, 0, 0, 0, 11], b"begun"].concat();
    world.asking(&socket, Direction::Received, &body, body.len() as u64);
    let next = received + body.len() as u64 + 0x4000 - 5;
    assert_eq!(told(&mut world), [(Direction::Received, next)], "behind the frame that has begun");
    world.part(&socket, Direction::Received, b"", 0x4000 - 5);
    assert_eq!(told(&mut world), [], "nobody asks any more");
    world.bytes(&socket, Direction::Sent, &headers(11, true, OK));
    world.tracer.drain(world.now_ns, &mut world.spans);
    let sizes: Vec<_> = world.spans.iter().map(|span| (span.target.as_deref(), span.request_bytes)).collect();
    let upload = (9 + get("/upload").len() + 9 + 0x4000) as u64;
    assert_eq!(sizes, [(Some("/first"), received), (Some("/upload"), upload)]);
}

/// Where a message of gRPC goes on nothing is told: what stands in front of the next one would be taken for content.
#[test]
fn no_frame_is_told_within_a_message() {
    let socket = socket(1).midway();
    let mut world = World::new(&Settings::default());
    let begins = [headers(1, false, &call("/s.S/m")), data(1, false, b"\0\0\0\0\x04ab")].concat();
    world.bytes(&socket, Direction::Received, &begins);
    assert_eq!(world.tracer.frame_begins().count(), 0);
    let ends = data(1, false, b"cd");
    world.asking(&socket, Direction::Received, &ends, ends.len() as u64);
    let told: Vec<_> = world.tracer.frame_begins().map(|told| told.position).collect();
    assert_eq!(told, [(begins.len() + ends.len()) as u64]);
}

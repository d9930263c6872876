//! HTTP/2 by its frames: whether all of a message were seen.

use model::Direction;

use crate::conversation::{Step, line, socket};
use crate::http2::{In, OK, On, Out, begun, data, frame, get, headers, play};

#[test]
fn what_may_have_been_more_is_said() {
    let marks = ["http.request.bytes_incomplete", "http.response.bytes_incomplete"];
    let head = || In(headers(1, false, &get("/a")));
    let answer = || Out([headers(1, false, OK), data(1, true, b"hi")].concat());
    let lost = |bytes| On::Step(Step::Loses(Direction::Received, bytes));
    for (steps, bytes, want) in [
        (vec![head(), In(data(1, true, b"body")), answer()], "59/21 2/2", [false; 2]),
        // Answered before it has ended; its end may as well have been lost.
        (vec![head(), answer(), In(data(1, true, b"body"))], "46/21 1/1", [true, false]),
        // What was lost may have been of it.
        (vec![head(), lost(20), In(data(1, true, b"body")), answer()], "59/21 2/2", [true, false]),
        // It had ended before.
        (
            vec![head(), In(data(1, true, b"body")), lost(20), In(frame(6, 0, 0, &[0; 8])), answer()],
            "59/21 3/3",
            [false; 2],
        ),
    ] {
        let (spans, _) = play(&socket(1), begun(steps));
        assert_eq!(line(&spans[0]), format!("server GET /a 200 complete - {bytes}"));
        assert_eq!(marks.map(|mark| spans[0].attribute(mark).is_some()), want, "{bytes}");
    }
}

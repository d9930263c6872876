//! Excludes, rules and names on whole conversations.

use std::collections::BTreeMap;

use trace::Settings;
use trace::sample::Rules;

use crate::conversation::Step::{Idles, Reads, Writes};
use crate::conversation::{World, socket};

fn rules(values: &[(&str, &str)]) -> Rules {
    let values: BTreeMap<String, String> =
        values.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
    Rules::parse(&values).unwrap()
}

fn serve(world: &mut World, path: &str, status: u16) {
    let request = format!("GET {path} HTTP/1.1\r\nHost: h\r\nX-A: 1\r\n\r\n");
    let response = format!("HTTP/1.1 {status} S\r\nContent-Length: 0\r\n\r\n");
    world.play(&socket(1), &[Reads(&request), Writes(&response)]);
}

#[test]
fn excluded_is_counted_not_given_out() {
    let mut world = World::new(&Settings { excludes: vec!["/health*".into()], ..Settings::default() });
    world.tracer.apply_rules("shop", rules(&[("probe.excludes", "GET /users/{id},*.css")]));
    for path in ["/health?x=1", "/HEALTHZ", "/users/7", "/s/a.css?v=2", "/users"] {
        serve(&mut world, path, 200);
    }
    let counts = world.tracer.counts();
    assert_eq!((counts.exchanges, counts.excluded, counts.spans), (5, 4, 1));
    assert_eq!(&*world.spans[0].name, "GET /users");
}

#[test]
fn the_probe_can_be_switched_off_and_on() {
    let mut world = World::new(&Settings::default());
    world.tracer.apply_rules("shop", rules(&[("probe.enabled", "false")]));
    serve(&mut world, "/a", 200);
    world.tracer.apply_rules("shop", rules(&[("probe.headers", "X-A")]));
    serve(&mut world, "/a", 200);
    let counts = world.tracer.counts();
    assert_eq!((counts.exchanges, counts.disabled, counts.spans), (2, 1, 1));
    assert_eq!(world.spans[0].headers, [("request.x-a".to_owned(), "1".to_owned())]);
}

#[test]
fn sampling_marks_and_drops_nothing() {
    let mut world = World::new(&Settings { slow_ms: 100, ..Settings::default() });
    world.tracer.apply_rules("shop", rules(&[("probe.sampling.rate", "0")]));
    serve(&mut world, "/a", 200);
    serve(&mut world, "/a", 500);
    world.play(&socket(1), &[Reads("GET /slow HTTP/1.1\r\n\r\n"), Idles(99)]);
    world.play(&socket(1), &[Writes("HTTP/1.1 204 No\r\n\r\n")]);
    let sampled: Vec<bool> = world.spans.iter().map(|span| span.sampled).collect();
    assert_eq!(sampled, [false, true, true]);
}

#[test]
fn names_have_a_ceiling() {
    let mut world = World::new(&Settings { max_names: 3, max_path_children: 9, ..Settings::default() });
    for path in ["/a", "/b", "/c", "/d", "/a", "/users/1"] {
        serve(&mut world, path, 200);
    }
    let names: Vec<_> = world.spans.iter().map(|span| &*span.name).collect();
    assert_eq!(names, ["GET /a", "GET /b", "GET /c", "GET (other)", "GET /a", "GET (other)"]);
    assert_eq!(world.spans[3].route, None);
    assert_eq!(world.tracer.counts().names_over_ceiling, 2);
}

//! Paths against rules as the frameworks have them. What is expected is what each framework answers.

use super::*;

fn text(text: &str) -> Piece {
    Piece::Literal(text.to_owned())
}

fn rule(template: &str, pieces: &[Piece], methods: &[&str], target: Target) -> Rule {
    let methods = methods.iter().map(|method| (*method).to_owned()).collect::<Vec<_>>();
    Rule {
        template: template.to_owned(),
        pieces: pieces.to_vec(),
        methods: (!methods.is_empty()).then_some(methods),
        target,
    }
}

fn endpoint(template: &str, pieces: &[Piece]) -> Rule {
    rule(template, pieces, &[], Target::Endpoint)
}

fn ask(routes: &Routes, request: &str) -> String {
    let (method, path) = request.split_once(' ').unwrap();
    let (method, socket) = if method == "SOCKET" { ("GET", true) } else { (method, false) };
    match find(routes, Asked { method, path, socket }) {
        Found::Rule(template) => template.into_owned(),
        Found::Nothing => "nothing".to_owned(),
        Found::Unsure => "unsure".to_owned(),
    }
}

fn check(routes: &Routes, cases: &[(&str, &str)]) {
    for (request, want) in cases {
        assert_eq!(&ask(routes, request), want, "{request}");
    }
}

#[test]
fn werkzeug_s_order() {
    use Piece::{Digits, Fraction, RestOfPath, Segment, Unknown, Uuid};
    let get = |template: &str, pieces: &[Piece]| {
        rule(template, pieces, &["GET", "HEAD", "OPTIONS"], Target::Endpoint)
    };
    let rules = vec![
        get("/", &[text("/")]),
        get("/<path:page>", &[text("/"), RestOfPath]),
        get("/users/<name>", &[text("/users/"), Segment]),
        get("/users/<int:id>", &[text("/users/"), Digits]),
        get("/users/me", &[text("/users/me")]),
        rule("/users/<int:id>", &[text("/users/"), Digits], &["DELETE"], Target::Endpoint),
        get("/v<int:n>/a", &[text("/v"), Digits, text("/a")]),
        get("/<name>/a", &[text("/"), Segment, text("/a")]),
        get("/f/<float:x>", &[text("/f/"), Fraction]),
        get("/o/<uuid:o>/", &[text("/o/"), Uuid, text("/")]),
        get("/twin/<string:a>", &[text("/twin/"), Segment]),
        get("/twin/<uuid:a>", &[text("/twin/"), Uuid]),
        get("/lang/<any(a,b):l>", &[text("/lang/"), Unknown]),
    ];
    let routes = Routes { order: Order::MostLiteral, rules };
    check(
        &routes,
        &[
            ("GET /", "/"),
            ("GET /users/7", "/users/<int:id>"),
            ("GET /users/me", "/users/me"),
            ("GET /users/you", "/users/<name>"),
            ("GET /users/y%C3%B6u", "/users/<name>"),
            ("GET /users/a/b", "/<path:page>"),
            ("GET /users/a%2Fb", "/<path:page>"),
            ("DELETE /users/7", "/users/<int:id>"),
            ("DELETE /users/me", "nothing"),
            ("GET /v1/a", "/v<int:n>/a"),
            ("GET /w1/a", "/<name>/a"),
            ("GET /f/1.5", "/f/<float:x>"),
            ("GET /f/1", "/<path:page>"),
            ("GET /f/1.", "/<path:page>"),
            ("GET /o/7b3bf470-9456-11e8-9EB6-529269fb1459/", "/o/<uuid:o>/"),
            // A redirect.
            ("GET /o/7b3bf470-9456-11e8-9EB6-529269fb1459", "unsure"),
            ("GET /twin/x", "/twin/<string:a>"),
            ("GET /twin/7b3bf470-9456-11e8-9eb6-529269fb1459", "unsure"),
            ("GET /lang/a", "unsure"),
            ("GET /lang", "/<path:page>"),
            ("GET //users/7", "unsure"),
            ("GET /users/%ff", "unsure"),
            // What is a digit to Python.
            ("GET /users/\u{663}", "unsure"),
        ],
    );
}

#[test]
fn django_s_order() {
    use Piece::{Digits, LowerUuid, Rest, Segment, Slug, Unknown};
    let below = vec![
        endpoint("<int:id>/", &[Digits, text("/")]),
        endpoint("<slug:name>/", &[Slug, text("/")]),
        endpoint("", &[]),
    ];
    let inner = vec![
        rule("users/", &[text("users/")], &[], Target::Rules(below)),
        endpoint("users/<str:any>/x", &[text("users/"), Segment, text("/x")]),
        endpoint("o/<uuid:o>", &[text("o/"), LowerUuid]),
        endpoint("^old/(.*)$", &[text("old/"), Unknown]),
        endpoint("old/new", &[text("old/new")]),
        endpoint("files/<path:p>", &[text("files/"), Rest]),
        rule(
            "a/<path:p>/",
            &[text("a/"), Rest, text("/")],
            &[],
            Target::Rules(vec![endpoint("b", &[text("b")])]),
        ),
    ];
    let rules = vec![rule("/", &[text("/")], &[], Target::Rules(inner))];
    let routes = Routes { order: Order::First, rules };
    check(
        &routes,
        &[
            ("GET /users/", "/users/"),
            ("GET /users/7/", "/users/<int:id>/"),
            ("POST /users/seven/", "/users/<slug:name>/"),
            // Not found below the first beginning: the next is tried.
            ("GET /users/7/x", "/users/<str:any>/x"),
            ("GET /users/7", "nothing"),
            ("GET /o/7b3bf470-9456-11e8-9eb6-529269fb1459", "/o/<uuid:o>"),
            ("GET /o/7b3bf470-9456-11e8-9EB6-529269fb1459", "nothing"),
            ("GET /old/new", "unsure"),
            ("GET /files/a/b", "/files/<path:p>"),
            ("GET /files/", "nothing"),
            ("GET /a/x/b", "/a/<path:p>/b"),
            ("GET /a/x/y/b", "unsure"),
            ("GET /", "nothing"),
        ],
    );
}

#[test]
fn starlette_s_order() {
    use Piece::{Anything, BareUuid, Decimal, Digits, Segment, Unknown};
    let mounted = vec![endpoint("/items/{id}", &[text("/items/"), Segment]), endpoint("/", &[text("/")])];
    let rules = vec![
        rule("/users/{id:int}", &[text("/users/"), Digits], &["GET"], Target::Endpoint),
        rule("/users/{id}", &[text("/users/"), Segment], &["POST"], Target::Endpoint),
        rule("/users/{id}", &[text("/users/"), Segment], &["GET", "HEAD"], Target::Endpoint),
        rule("/ws/{room}", &[text("/ws/"), Segment], &[], Target::Socket),
        rule("/sub", &[text("/sub")], &[], Target::Rules(mounted)),
        endpoint("/o/{o:uuid}", &[text("/o/"), BareUuid]),
        endpoint("/f/{x:float}", &[text("/f/"), Decimal]),
        endpoint("", &[text("/strange/"), Unknown]),
        endpoint("/all/{path:path}", &[text("/all/"), Anything]),
        endpoint("/sub/never", &[text("/sub/never")]),
    ];
    let routes = Routes { order: Order::FirstOfMethod, rules };
    check(
        &routes,
        &[
            ("GET /users/7", "/users/{id:int}"),
            ("GET /users/x", "/users/{id}"),
            ("POST /users/7", "/users/{id}"),
            // No rule of the method: the first of the path answers 405.
            ("PUT /users/7", "/users/{id:int}"),
            ("GET /ws/a", "nothing"),
            ("SOCKET /ws/a", "/ws/{room}"),
            ("SOCKET /users/7", "nothing"),
            ("GET /sub/items/7", "/sub/items/{id}"),
            ("GET /sub/", "/sub/"),
            ("GET /sub", "nothing"),
            ("GET /submarine", "nothing"),
            // A mount that matches is final.
            ("GET /sub/never", "nothing"),
            ("GET /o/7b3bf470945611e89eb6529269fb1459", "/o/{o:uuid}"),
            ("GET /f/1", "/f/{x:float}"),
            ("GET /f/1.5", "/f/{x:float}"),
            ("GET /f/1.", "nothing"),
            ("GET /strange/a", "unsure"),
            ("GET /all/", "/all/{path:path}"),
            ("GET /all/a/b", "/all/{path:path}"),
        ],
    );
}

#[test]
fn hostile_rules_and_paths_end() {
    let mut pieces = Vec::new();
    for _ in 0..20 {
        pieces.extend([Piece::Rest, text("a")]);
    }
    pieces.push(text("b"));
    let path = format!("GET {}", "a".repeat(2000));
    for order in [Order::First, Order::FirstOfMethod, Order::MostLiteral] {
        let routes = Routes { order, rules: vec![endpoint("/", &pieces)] };
        assert_eq!(ask(&routes, &path), "unsure", "{order:?}");
    }
}

#[test]
fn what_no_rule_matches_is_told_of() {
    let mut frameworks = Frameworks::default();
    let routes = Routes { order: Order::First, rules: vec![endpoint("/a", &[text("/a")])] };
    let ask = |frameworks: &mut Frameworks, pid, path| {
        frameworks.find(pid, Asked { method: "GET", path, socket: false }).map(|found| found.to_string())
    };
    assert_eq!(ask(&mut frameworks, 1, "/a"), None);
    frameworks.learn(1, Arc::new(routes));
    frameworks.fork(1, 2);
    assert_eq!(ask(&mut frameworks, 2, "/a").as_deref(), Some("/a"));
    assert_eq!((ask(&mut frameworks, 2, "/b"), ask(&mut frameworks, 3, "/b")), (None, None));
    assert_eq!(frameworks.strangers().collect::<Vec<_>>(), [1, 2, 3]);
    frameworks.forget(2);
    assert_eq!(ask(&mut frameworks, 2, "/a"), None);
}

//! Command lines as people write them, and the names they would give.

use super::*;

fn named(line: &str, directory: &str) -> Named {
    // A whole title in quotes is one argument, as setproctitle leaves it.
    let arguments: Vec<String> = match line.strip_prefix('"').and_then(|title| title.strip_suffix('"')) {
        Some(title) => vec![title.to_owned()],
        None => line.split_whitespace().map(str::to_owned).collect(),
    };
    name(&Program { arguments: &arguments, directory, executable: "", flask_app: None })
}

fn check(cases: &[(&str, &str, &str)]) {
    for (line, directory, expected) in cases {
        assert_eq!(named(line, directory), Named::As((*expected).to_owned()), "{line} in {directory}");
    }
}

#[test]
fn served_apps_are_named_as_a_person_would() {
    check(&[
        // gunicorn
        ("gunicorn shop.wsgi:app", "/srv/x", "shop"),
        ("gunicorn shop.wsgi", "/srv/x", "shop"),
        ("gunicorn 'shop.wsgi:create()'", "/srv/x", "x"),
        ("gunicorn shop.wsgi:create()", "/srv/x", "shop"),
        ("/venv/bin/python /venv/bin/gunicorn shop.wsgi:app", "/", "shop"),
        ("/venv/bin/python3 /venv/bin/gunicorn -w 2 --threads 4 -k gthread shop:app", "/", "shop"),
        ("gunicorn -w 4 -b :80 --chdir /srv/billing wsgi:application", "/", "billing"),
        ("gunicorn --chdir=/srv/billing --bind=0.0.0.0:80 wsgi", "/", "billing"),
        ("gunicorn -w4 -b unix:/run/a.sock wsgi:application", "/srv/billing", "billing"),
        ("gunicorn --worker-class gevent --log-level info app:app", "/home/me/billing", "billing"),
        ("gunicorn -k uvicorn.workers.UvicornWorker app.main:app", "/srv/billing", "billing"),
        ("gunicorn -k uvicorn.workers.UvicornWorker app.main:app", "/app", "app"),
        ("gunicorn -n checkout shop.wsgi:app", "/", "checkout"),
        ("gunicorn --name=checkout shop.wsgi:app", "/", "checkout"),
        ("gunicorn --new-option gevent shop.wsgi:app", "/", "shop"),
        ("gunicorn -c gunicorn.conf.py", "/srv/billing", "billing"),
        ("gunicorn config.wsgi:application", "/srv/billing/current", "billing"),
        ("gunicorn src.billing.main:app", "/x", "billing"),
        ("gunicorn -e A=B --env C=D shop:app", "/", "shop"),
        ("gunicorn -- shop:app", "/", "shop"),
        ("python -m gunicorn shop.wsgi:app", "/", "shop"),
        ("\"gunicorn: master [shop]\"", "/", "shop"),
        ("\"gunicorn: worker [shop.wsgi:app]\"", "/", "shop"),
        ("\"gunicorn: worker [wsgi:application]\"", "/srv/billing", "billing"),
        ("\"gunicorn: master [gunicorn]\"", "/srv/billing", "billing"),
        // ASGI servers
        ("uvicorn main:app", "/srv/billing", "billing"),
        ("uvicorn main:app --host 0.0.0.0 --port 80 --reload", "/srv/billing", "billing"),
        ("uvicorn --host localhost --loop uvloop shop.main:app", "/", "shop"),
        ("uvicorn --factory shop:create_app", "/", "shop"),
        ("uvicorn --app-dir src main:app", "/srv/billing", "billing"),
        ("uvicorn --app-dir /srv/billing main:app", "/", "billing"),
        ("python3 -m uvicorn main:app", "/srv/billing", "billing"),
        ("/v/bin/python3.12 /v/bin/uvicorn shop.main:app", "/", "shop"),
        ("hypercorn -b 0.0.0.0:80 shop.asgi:application", "/", "shop"),
        ("daphne -p 80 -b 0.0.0.0 shop.asgi:application", "/", "shop"),
        ("granian --interface asgi main:app", "/srv/billing", "billing"),
        ("granian --interface wsgi shop.wsgi:app", "/", "shop"),
        ("waitress-serve --listen=*:80 --call shop:create_app", "/", "shop"),
        ("sanic shop.server:app -w 4", "/", "shop"),
        // the rest of the launchers
        ("uwsgi --http :80 --module shop.wsgi:application", "/", "shop"),
        ("uwsgi --http-socket :80 -w wsgi --chdir /srv/billing", "/", "billing"),
        ("uwsgi --wsgi-file billing/app.py", "/srv", "billing"),
        ("uwsgi --ini /etc/uwsgi/apps/shop.ini", "/", "shop"),
        ("uwsgi uwsgi.ini", "/srv/billing", "billing"),
        ("flask --app shop run", "/", "shop"),
        ("flask -A shop.web:create_app run --port 5000", "/", "shop"),
        ("flask --app app run", "/srv/billing", "billing"),
        ("flask run", "/srv/billing", "billing"),
        ("python -m flask --app shop run", "/", "shop"),
        ("fastapi run app/main.py", "/srv/billing", "billing"),
        ("fastapi dev shop.py", "/", "shop"),
        ("fastapi run", "/srv/billing", "billing"),
        ("celery -A proj worker -l INFO", "/", "proj"),
        ("celery --app=proj.celery worker", "/", "proj"),
        ("celery -A proj.celery:app beat", "/", "proj"),
        ("\"[celeryd: celery@h:MainProcess] -active- (-A proj worker -l INFO)\"", "/", "proj"),
        ("rq worker high", "/srv/billing", "billing"),
        ("dramatiq -p 2 shop.tasks", "/", "shop"),
        ("streamlit run dashboard.py", "/", "dashboard"),
        ("django-admin runserver --settings=shop.settings", "/", "shop"),
    ]);
}

#[test]
fn scripts_and_other_programs_are_named_as_a_person_would() {
    check(&[
        // plain Python
        ("python manage.py runserver", "/srv/billing", "billing"),
        ("python manage.py runserver 0.0.0.0:80 --noreload", "/srv/billing/src", "billing"),
        ("python /srv/billing/manage.py runserver", "/", "billing"),
        ("python ./manage.py runserver", "/srv/billing", "billing"),
        ("python ../manage.py runserver", "/srv/billing/sub", "billing"),
        ("python worker.py", "/srv/x", "worker"),
        ("python /opt/jobs/worker.py --queue a", "/", "worker"),
        ("python main.py", "/srv/billing", "billing"),
        ("python app.py", "/app", "app"),
        ("python app.py", "", "app"),
        ("python src/main.py", "/srv/billing", "billing"),
        ("python billing/__main__.py", "/srv", "billing"),
        ("python billing", "/srv", "billing"),
        ("python .", "/srv/billing", "billing"),
        ("python -u -X dev -W ignore -O -I worker.py", "/", "worker"),
        ("python -m pkg.sub", "/", "pkg"),
        ("python -um pkg", "/", "pkg"),
        ("python -m app.main", "/srv/billing", "billing"),
        ("python -m http.server 8000", "/srv/x", "http.server"),
        ("python", "/srv/billing", "billing"),
        ("python -c pass", "/srv/billing", "billing"),
        // wrappers
        ("env A=B python worker.py", "/", "worker"),
        ("env -u X A=B gunicorn shop:app", "/", "shop"),
        ("poetry run gunicorn shop:app", "/", "shop"),
        ("/usr/bin/python3 /usr/bin/poetry run uvicorn shop:app", "/", "shop"),
        ("uv run --with flask python worker.py", "/", "worker"),
        ("nice -n 5 timeout -s INT 60 python worker.py", "/", "worker"),
        ("tini -g -- dumb-init gunicorn shop:app", "/", "shop"),
        ("python /v/bin/opentelemetry-instrument gunicorn shop:app", "/", "shop"),
        ("ddtrace-run python worker.py", "/", "worker"),
        ("newrelic-admin run-program gunicorn shop:app", "/", "shop"),
        // others
        ("/usr/sbin/nginx -g daemon off;", "/", "nginx"),
        ("-bash", "/", "bash"),
        ("node server.js", "/srv/x", "node"),
        ("env", "/", "env"),
        ("uv sync", "/", "uv"),
    ]);
}

#[test]
fn workers_of_multiprocessing_have_their_parents_name() {
    let arguments =
        ["/v/bin/python", "-c", "from multiprocessing.spawn import spawn_main; spawn_main(tracker_fd=5)"]
            .map(str::to_owned);
    let program = Program { arguments: &arguments, directory: "/srv/x", executable: "", flask_app: None };
    assert_eq!(name(&program), Named::AsParent);
}

#[test]
fn the_environment_names_a_flask_app() {
    let arguments = ["flask", "run"].map(str::to_owned);
    let program =
        Program { arguments: &arguments, directory: "/srv/x", executable: "", flask_app: Some("shop.web") };
    assert_eq!(name(&program), Named::As("shop".into()));
}

#[test]
fn the_executable_names_what_is_not_python() {
    let arguments = ["nginx: master process".to_owned()];
    let nginx =
        Program { arguments: &arguments, directory: "/", executable: "/usr/sbin/nginx", flask_app: None };
    assert_eq!(name(&nginx), Named::As("nginx".into()));
    let kernel_thread = Program { arguments: &[], directory: "", executable: "", flask_app: None };
    assert_eq!(name(&kernel_thread), Named::As(String::new()));
}

#[test]
fn names_are_made_fit_for_the_back_end() {
    let cases = [
        (" shop \n", "shop".to_owned()),
        ("sh\u{7}op\u{1b}", "shop".to_owned()),
        ("结算", "结算".to_owned()),
        (&"x".repeat(80), "x".repeat(50)),
        ("\t", String::new()),
    ];
    for (name, expected) in cases {
        assert_eq!(sanitise(name), expected);
    }
}

#[test]
fn any_words_give_a_name() {
    let words = [
        "gunicorn", "-", "--", "-n", "--name=", "python", "-m", ":", ".", "..", "/", "env", "[", "é", "-é",
        "",
    ];
    for first in words {
        for second in words {
            for third in words {
                let arguments = [first, second, third].map(str::to_owned);
                let program =
                    Program { arguments: &arguments, directory: "/srv/x", executable: "", flask_app: None };
                let _: Named = name(&program);
            }
        }
    }
}

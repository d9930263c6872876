"""Views that wait for databases, one for each driver. WSGI: `app`.

Each view answers with what it has done: a list of operations, with when each began and ended on the monotonic
clock and the code of its error, as the driver tells it.
"""

import asyncio
import contextlib
import importlib
import os
import ssl
import time

from flask import Flask, jsonify, request

app = Flask(__name__)


class Ledger:
    """The operations of one request."""

    def __init__(self):
        self.operations = []

    @contextlib.contextmanager
    def operation(self, name, code=None):
        """Writes down what runs within; with a code, it must fail, and `code(error)` tells how."""
        start_ns, error = time.monotonic_ns(), None
        try:
            yield
        except Exception as failure:
            if code is None:
                raise
            error = str(code(failure))
        self.operations.append(
            {"name": name, "start_ns": start_ns, "end_ns": time.monotonic_ns(), "error": error}
        )


def port():
    return int(request.args["port"])


def certificate():
    """What to trust, where the connection is to be inside TLS; else None."""
    return request.args.get("certificate")


def sslmode():
    """As libpq takes it."""
    return f"sslmode=verify-ca sslrootcert={certificate()}" if certificate() else "sslmode=disable"


def tls_context():
    return ssl.create_default_context(cafile=certificate()) if certificate() else None


@app.get("/load")
def load():
    """Loads a driver before a view needs it, with the libraries that it brings along."""
    modules = {"psycopg3": "psycopg", "mysqlclient": "MySQLdb"}
    importlib.import_module(modules.get(request.args["module"], request.args["module"]))
    return jsonify([])


@app.get("/psycopg3")
def psycopg3():
    import psycopg

    ledger, state = Ledger(), lambda error: error.sqlstate
    dsn = f"host=127.0.0.1 port={port()} user=app dbname=shop {sslmode()}"
    with psycopg.connect(dsn, autocommit=True) as connection:
        with ledger.operation("simple"):
            connection.execute("SELECT id, name FROM items WHERE id = 1").fetchall()
        with ledger.operation("parameters"):
            connection.execute("SELECT id FROM items WHERE name = %s", ("a secret",)).fetchall()
        with ledger.operation("prepared"):
            connection.execute("SELECT name FROM items WHERE id = %s", (1,), prepare=True)
        with ledger.operation("prepared again"):
            connection.execute("SELECT name FROM items WHERE id = %s", (2,), prepare=True)
        with ledger.operation("many"), connection.cursor() as cursor:
            cursor.executemany("INSERT INTO log (text) VALUES (%s)", [("a",), ("b",), ("c",)])
        with ledger.operation("pipeline"), connection.pipeline():
            connection.execute("SELECT id FROM items WHERE id = %s", (1,))
            connection.execute("UPDATE items SET name = name WHERE id = %s", (1,))
        with ledger.operation("copy"), connection.cursor() as cursor:
            with cursor.copy("COPY log (text) FROM STDIN") as copy:
                for number in range(2000):
                    copy.write_row((f"row {number}",))
        with ledger.operation("large"):
            rows = connection.execute("SELECT n, repeat('x', 50) FROM numbers ORDER BY n").fetchall()
            assert len(rows) == 5000
        with ledger.operation("missing", state):
            connection.execute("SELECT * FROM missing")
        with ledger.operation("duplicate", state):
            connection.execute("INSERT INTO items (id, name) VALUES (%s, %s)", (1, "again"))
        with ledger.operation("sleep"):
            connection.execute("SELECT pg_sleep(0.2)")
        with ledger.operation("transaction"), connection.transaction():
            connection.execute("DELETE FROM log WHERE text = 'a'")
    return jsonify(ledger.operations)


@app.get("/copies")
def copies():
    """`COPY` both ways, and cut off in the middle by either side."""
    import psycopg

    ledger, state = Ledger(), lambda error: error.sqlstate
    dsn = f"host=127.0.0.1 port={port()} user=app dbname=shop {sslmode()}"
    with psycopg.connect(dsn, autocommit=True) as connection, connection.cursor() as cursor:
        with ledger.operation("in"), cursor.copy("COPY log (text) FROM STDIN") as copy:
            for number in range(20_000):
                copy.write_row((f"row {number}",))
        with ledger.operation("out"), cursor.copy("COPY log (text) TO STDOUT") as copy:
            assert sum(1 for _ in copy.rows()) == 20_000
        with ledger.operation("query"), cursor.copy("COPY (SELECT n FROM numbers) TO STDOUT") as copy:
            assert sum(1 for _ in copy.rows()) == 5000
        with ledger.operation("given up", state), cursor.copy("COPY log (text) FROM STDIN") as copy:
            copy.write_row(("half of it",))
            raise psycopg.errors.QueryCanceled("enough")
        with ledger.operation("refused", state), cursor.copy("COPY numbers (n) FROM STDIN") as copy:
            copy.write("1\n2\nno number\n")
        with ledger.operation("after"):
            assert connection.execute("SELECT count(*) FROM log").fetchone() == (20_000,)
        with ledger.operation("broken off", state):
            with cursor.copy("COPY (SELECT 1 / (5 - n) FROM numbers) TO STDOUT") as copy:
                for _ in copy:
                    pass
    return jsonify(ledger.operations)


@app.get("/psycopg2")
def psycopg2():
    import io

    import psycopg2

    ledger, state = Ledger(), lambda error: error.pgcode
    connection = psycopg2.connect(f"host=127.0.0.1 port={port()} user=app dbname=shop {sslmode()}")
    cursor = connection.cursor()
    with ledger.operation("select"):
        cursor.execute("SELECT id, name FROM items WHERE name = %s", ("a secret",))
        cursor.fetchall()
    with ledger.operation("insert"):
        cursor.execute("INSERT INTO log (text) VALUES (%s)", ("it's",))
    with ledger.operation("commit"):
        connection.commit()
    with ledger.operation("copy"):
        cursor.copy_expert("COPY log (text) FROM STDIN", io.StringIO("one\ntwo\n"))
        connection.commit()
    with ledger.operation("missing", state):
        cursor.execute("SELECT * FROM missing")
    with ledger.operation("rollback"):
        connection.rollback()
    connection.close()
    return jsonify(ledger.operations)


@app.get("/asyncpg")
def asyncpg():
    import asyncpg

    ledger, at, context = Ledger(), port(), tls_context() or False

    async def ask():
        connection = await asyncpg.connect(host="127.0.0.1", port=at, user="app", database="shop", ssl=context)
        for number in range(3):
            with ledger.operation("fetch"):
                await connection.fetch("SELECT id, name FROM items WHERE id = $1", number)
        with ledger.operation("many"):
            await connection.executemany("INSERT INTO log (text) VALUES ($1)", [("a",), ("b",)])
        with ledger.operation("missing", lambda error: error.sqlstate):
            await connection.fetch("SELECT * FROM missing")
        with ledger.operation("simple"):
            await connection.execute("UPDATE items SET name = name WHERE id = 1")
        with ledger.operation("sleep"):
            await connection.execute("SELECT pg_sleep(0.2)")
        await connection.close()

    asyncio.run(ask())
    return jsonify(ledger.operations)


def mysql_operations(ledger, connection, code):
    """What PyMySQL and mysqlclient do alike."""
    cursor = connection.cursor()
    with ledger.operation("select"):
        cursor.execute("SELECT id, name FROM items WHERE name = %s", ("a secret",))
        cursor.fetchall()
    with ledger.operation("insert"):
        cursor.executemany("INSERT INTO log (text) VALUES (%s)", [("a",), ("b",), ("c",)])
    with ledger.operation("commit"):
        connection.commit()
    with ledger.operation("large"):
        cursor.execute("SELECT n, repeat('x', 50) FROM numbers ORDER BY n")
        assert len(cursor.fetchall()) == 5000
    with ledger.operation("missing", code):
        cursor.execute("SELECT * FROM missing")
    with ledger.operation("duplicate", code):
        cursor.execute("INSERT INTO items (id, name) VALUES (%s, %s)", (1, "again"))
    with ledger.operation("procedure"):
        cursor.execute("CALL two_results()")
        cursor.fetchall()
        while cursor.nextset():
            cursor.fetchall()
    with ledger.operation("sleep"):
        cursor.execute("SELECT sleep(0.2)")
        cursor.fetchall()
    with ledger.operation("ping"):
        connection.ping()
    connection.close()


@app.get("/pymysql")
def pymysql():
    import pymysql

    ledger = Ledger()
    how = {"ssl_ca": certificate()} if certificate() else {"ssl_disabled": True}
    connection = pymysql.connect(host="127.0.0.1", port=port(), user="app", database="shop", **how)
    mysql_operations(ledger, connection, lambda error: error.args[0])
    return jsonify(ledger.operations)


@app.get("/mysqlclient")
def mysqlclient():
    import MySQLdb

    ledger = Ledger()
    how = {"ssl": {"ca": certificate()}} if certificate() else {"ssl_mode": "DISABLED"}
    connection = MySQLdb.connect(host="127.0.0.1", port=port(), user="app", database="shop", **how)
    mysql_operations(ledger, connection, lambda error: error.args[0])
    return jsonify(ledger.operations)


@app.get("/aiomysql")
def aiomysql():
    import aiomysql

    ledger, at, context, code = Ledger(), port(), tls_context(), lambda error: error.args[0]

    async def ask():
        connection = await aiomysql.connect(host="127.0.0.1", port=at, user="app", db="shop", ssl=context)
        cursor = await connection.cursor()
        with ledger.operation("select"):
            await cursor.execute("SELECT id, name FROM items WHERE name = %s", ("a secret",))
            await cursor.fetchall()
        with ledger.operation("insert"):
            await cursor.executemany("INSERT INTO log (text) VALUES (%s)", [("a",), ("b",), ("c",)])
        with ledger.operation("commit"):
            await connection.commit()
        with ledger.operation("large"):
            await cursor.execute("SELECT n, repeat('x', 50) FROM numbers ORDER BY n")
            assert len(await cursor.fetchall()) == 5000
        with ledger.operation("missing", code):
            await cursor.execute("SELECT * FROM missing")
        with ledger.operation("duplicate", code):
            await cursor.execute("INSERT INTO items (id, name) VALUES (%s, %s)", (1, "again"))
        with ledger.operation("procedure"):
            await cursor.execute("CALL two_results()")
            await cursor.fetchall()
            while await cursor.nextset():
                await cursor.fetchall()
        with ledger.operation("sleep"):
            await cursor.execute("SELECT sleep(0.2)")
            await cursor.fetchall()
        with ledger.operation("ping"):
            await connection.ping()
        connection.close()

    asyncio.run(ask())
    return jsonify(ledger.operations)


@app.get("/connector")
def connector():
    import mysql.connector

    ledger = Ledger()
    connection = mysql.connector.connect(
        host="127.0.0.1", port=port(), user="app", database="shop", ssl_disabled=True, use_pure=True, autocommit=True
    )
    cursor = connection.cursor(prepared=True)
    for number in range(2):
        with ledger.operation("prepared"):
            cursor.execute("SELECT name FROM items WHERE id = %s", (number,))
            cursor.fetchall()
    cursor.close()
    connection.close()
    return jsonify(ledger.operations)


@app.get("/redis")
def redis_sync():
    import redis

    ledger, kind = Ledger(), lambda error: str(error).split()[0]
    version = int(request.args.get("protocol", 2))
    how = {"ssl": True, "ssl_ca_certs": certificate()} if certificate() else {}
    client = redis.Redis(host="127.0.0.1", port=port(), db=2, protocol=version, **how)
    client.ping()
    with ledger.operation("set"):
        client.set("user:1", "a secret")
    with ledger.operation("get"):
        assert client.get("user:1") == b"a secret"
    with ledger.operation("hash"):
        client.hset("h", mapping={"a": 1, "b": 2})
        client.hgetall("h")
    with ledger.operation("pipeline"):
        pipeline = client.pipeline(transaction=False)
        for number in range(5):
            pipeline.get(f"key:{number}")
        pipeline.execute()
    with ledger.operation("transaction"):
        pipeline = client.pipeline(transaction=True)
        pipeline.incr("a").lpush("list", "x")
        pipeline.execute()
    with ledger.operation("large"):
        client.set("large", b"x" * 100_000)
        assert len(client.get("large")) == 100_000
    with ledger.operation("wrong", lambda error: "WRONGTYPE" if "WRONGTYPE" in str(error) else kind(error)):
        client.lpush("user:1", "x")
    with ledger.operation("wait"):
        client.blpop("nothing", timeout=0.2)
    client.close()
    return jsonify(ledger.operations)


@app.get("/redis-channels")
def redis_channels():
    """Publishes to itself."""
    import redis

    ledger, version = Ledger(), int(request.args.get("protocol", 2))
    how = {"ssl": True, "ssl_ca_certs": certificate()} if certificate() else {}
    client = redis.Redis(host="127.0.0.1", port=port(), protocol=version, **how)
    channels = client.pubsub()

    def expect(*kinds):
        for kind in kinds:
            message = channels.get_message(timeout=5)
            assert message["type"] == kind, message

    with ledger.operation("subscribe"):
        channels.subscribe("a", "b")
        expect("subscribe", "subscribe")
    with ledger.operation("patterns"):
        channels.psubscribe("c*")
        expect("psubscribe")
    for number in range(5):
        with ledger.operation("publish"):
            # The one that is told after it is longer than what is copied of a call.
            assert client.publish("a", "x" * 3000 * number) == 1
        with ledger.operation("publish"):
            assert client.publish("cd", "text") == 1
        expect("message", "pmessage")
    with ledger.operation("ping"):
        channels.ping()
        expect("pong")
    with ledger.operation("leave"):
        channels.unsubscribe("a")
        expect("unsubscribe")
    with ledger.operation("publish"):
        assert client.publish("a", "nobody") == 0
    channels.close()
    client.close()
    return jsonify(ledger.operations)


@app.get("/redis-asyncio")
def redis_asyncio():
    import redis.asyncio

    ledger, at = Ledger(), port()
    how = {"ssl": True, "ssl_ca_certs": certificate()} if certificate() else {}

    async def ask():
        client = redis.asyncio.Redis(host="127.0.0.1", port=at, **how)
        await client.ping()
        with ledger.operation("set"):
            await client.set("user:1", "a secret")
        with ledger.operation("pipeline"):
            async with client.pipeline(transaction=True) as pipeline:
                await pipeline.get("a").get("b").execute()
        await client.aclose()

    asyncio.run(ask())
    return jsonify(ledger.operations)


@app.get("/pymemcache")
def pymemcache():
    from pymemcache.client.base import Client

    ledger = Ledger()
    client = Client(("127.0.0.1", port()), tls_context=tls_context())
    with ledger.operation("set"):
        client.set("user:1", b"a secret", noreply=False)
    with ledger.operation("get"):
        assert client.get("user:1") == b"a secret"
    with ledger.operation("get many"):
        client.get_many(["user:1", "user:2"])
    with ledger.operation("no reply"):
        client.set("user:3", b"x", noreply=True)
    with ledger.operation("set many"):
        client.set_many({"a": b"1", "b": b"2"}, noreply=False)
    with ledger.operation("large"):
        client.set("large", b"x" * 100_000, noreply=False)
        assert len(client.get("large")) == 100_000
    with ledger.operation("wrong", lambda error: "CLIENT_ERROR"):
        client.incr("user:1", 1)
    with ledger.operation("delete"):
        client.delete("user:1", noreply=False)
    client.close()
    return jsonify(ledger.operations)


@app.get("/meta-memcache")
def meta_memcache():
    """The meta commands."""
    from meta_memcache import CacheClient, Key, ServerAddress, connection_pool_factory_builder

    ledger = Ledger()
    client = CacheClient.cache_client_from_servers(
        servers=[ServerAddress("127.0.0.1", port())], connection_pool_factory_fn=connection_pool_factory_builder()
    )
    with ledger.operation("set"):
        assert client.set(Key("user:1"), "a secret", ttl=100)
    with ledger.operation("get"):
        assert client.get(Key("user:1")) == "a secret"
    with ledger.operation("missing"):
        assert client.get(Key("user:2")) is None
    with ledger.operation("large"):
        # It compresses what it can.
        large = os.urandom(100_000)
        assert client.set(Key("large"), large, ttl=100)
        assert client.get(Key("large")) == large
    with ledger.operation("touch"):
        assert client.touch(Key("user:1"), ttl=50)
    with ledger.operation("count"):
        assert client.delta_initialize(Key("count"), delta=1, initial_value=7, initial_ttl=100)
        assert client.delta(Key("count"), delta=2)
    with ledger.operation("delete"):
        assert client.delete(Key("user:1"))
    with ledger.operation("no reply"):
        client.set(Key("user:3"), "x", ttl=100, no_reply=True)
    with ledger.operation("many"):
        assert len(client.multi_get([Key("large"), Key("user:3"), Key("none")])) == 3
    return jsonify(ledger.operations)


KEPT = {}


@app.get("/kept")
def kept():
    """Asks on connections that are kept from one request to the next."""
    import psycopg
    import pymysql
    import redis
    from pymemcache.client.base import Client

    ports = {name: int(request.args[name]) for name in ("postgresql", "mysql", "redis", "memcached")}
    if not KEPT:
        dsn = f"host=127.0.0.1 port={ports['postgresql']} user=app dbname=shop sslmode=disable"
        KEPT["postgresql"] = psycopg.connect(dsn, autocommit=True)
        KEPT["mysql"] = pymysql.connect(
            host="127.0.0.1", port=ports["mysql"], user="app", database="shop", ssl_disabled=True
        )
        KEPT["redis"] = redis.Redis(host="127.0.0.1", port=ports["redis"])
        KEPT["memcached"] = Client(("127.0.0.1", ports["memcached"]))
    KEPT["postgresql"].execute("SELECT id FROM items WHERE id = 1").fetchall()
    KEPT["postgresql"].execute("SELECT name FROM items WHERE id = %s", (1,), prepare=True)
    with KEPT["mysql"].cursor() as cursor:
        cursor.execute("SELECT id FROM items WHERE id = 1")
        cursor.fetchall()
    KEPT["redis"].get("a")
    KEPT["memcached"].get("a")
    return jsonify([])

"""Views that ask databases on connections which are killed meanwhile. WSGI: `app`.

Before a connection is killed, the server itself has said that it does what it is to be killed in; so nothing here
depends on how fast the machine is. Of this asking the tests know by the names of the spans that come of it.
"""

import asyncio
import contextlib
import os
import threading
import time

from database_app import Ledger, app, certificate, jsonify, port, request, sslmode, tls_context

# More than sockets hold.
MANY_ROWS = "SELECT repeat('x', 1000) FROM numbers a, numbers b LIMIT 200000"


def until_end(receive):
    """Reads what still comes on a connection that is being killed; gives how much."""
    total = 0
    with contextlib.suppress(ConnectionError):
        while read := receive(65536):
            total += len(read)
    return total


def wait_until(says, wanted, in_row=1):
    """Waits until what the server says is as wanted; so many times in a row, if it may only pass by."""
    seen, last, end = 0, None, time.monotonic() + 60
    while seen < in_row:
        said = says()
        seen = (seen + 1 if said == last else 1) if wanted(said) else 0
        last = said
        assert time.monotonic() < end, said
        time.sleep(0.02)


class PostgresqlServer:
    """What PostgreSQL says of its sessions."""

    def __init__(self):
        import psycopg

        dsn = f"host=127.0.0.1 port={port()} user=app dbname=shop sslmode=disable"
        self.connection = psycopg.connect(dsn, autocommit=True, prepare_threshold=None)

    def session(self, pid):
        """What it waits for, and how many bytes of a COPY it has taken or given."""
        statement = "SELECT wait_event, bytes_processed FROM pg_stat_activity"
        statement += " LEFT JOIN pg_stat_progress_copy USING (pid) WHERE pid = %s"
        return self.connection.execute(statement, (pid,)).fetchone()

    def wait_until_waiting(self, pid, event):
        # In COPY it waits for the same thing again and again: then until no bytes pass any more.
        copies = event != "PgSleep"
        wait_until(lambda: self.session(pid), lambda said: said[0] == event and (said[1] or not copies), 5)

    def wait_until_gone(self, pid):
        wait_until(lambda: self.session(pid), lambda said: said is None)

    async def end(self, pid, event, terminate):
        """Has another connection end a session, by what it is about to execute, once that waits for this."""
        await asyncio.to_thread(self.wait_until_waiting, pid, event)
        await terminate
        await asyncio.to_thread(self.wait_until_gone, pid)

    def close(self):
        self.connection.close()


@app.get("/killed-postgresql")
def killed_postgresql():
    """Sessions that are ended from outside: in the middle of rows, of a COPY either way, and while one waits."""
    import psycopg

    ledger, state = Ledger(), lambda error: error.sqlstate
    dsn = f"host=127.0.0.1 port={port()} user=app dbname=shop {sslmode()}"
    server, other = PostgresqlServer(), psycopg.connect(dsn, autocommit=True)

    def kill(victim, event):
        pid = victim.info.backend_pid
        server.wait_until_waiting(pid, event)
        other.execute("SELECT pg_terminate_backend(%s)", (pid,))
        server.wait_until_gone(pid)

    victim = psycopg.connect(dsn, autocommit=True)
    with ledger.operation("out", state), victim.cursor() as cursor:
        with cursor.copy(f"COPY ({MANY_ROWS}) TO STDOUT") as copy:
            copy.read()
            # If it is killed while it waits for someone to read, it says nothing more.
            kill(victim, "ClientWrite")
            for _ in copy:
                pass
    victim = psycopg.connect(dsn, autocommit=True)
    with ledger.operation("in", state), victim.cursor() as cursor, cursor.copy("COPY log (text) FROM STDIN") as copy:
        # More than the driver keeps back.
        for _ in range(2):
            copy.write("rows that are never kept\n" * 4000)
        kill(victim, "ClientRead")
    victim = psycopg.connect(dsn, autocommit=True)
    killer = threading.Thread(target=kill, args=(victim, "PgSleep"))
    killer.start()
    with ledger.operation("wait", state):
        victim.execute("SELECT pg_sleep(100)")
    killer.join()
    other.close()
    server.close()
    return jsonify(ledger.operations)


@app.get("/killed-psycopg3-async")
def killed_psycopg3_async():
    """As `killed_postgresql`, where tasks read, write and wait."""
    import psycopg

    ledger, state = Ledger(), lambda error: error.sqlstate
    dsn = f"host=127.0.0.1 port={port()} user=app dbname=shop {sslmode()}"
    server = PostgresqlServer()

    async def ask():
        other = await psycopg.AsyncConnection.connect(dsn, autocommit=True)

        async def kill(victim, event):
            pid = victim.info.backend_pid
            await server.end(pid, event, other.execute("SELECT pg_terminate_backend(%s)", (pid,)))

        victim = await psycopg.AsyncConnection.connect(dsn, autocommit=True)
        with ledger.operation("out", state):
            async with victim.cursor() as cursor, cursor.copy(f"COPY ({MANY_ROWS}) TO STDOUT") as copy:
                await copy.read()
                await kill(victim, "ClientWrite")
                async for _ in copy:
                    pass
        victim = await psycopg.AsyncConnection.connect(dsn, autocommit=True)
        with ledger.operation("in", state):
            async with victim.cursor() as cursor, cursor.copy("COPY log (text) FROM STDIN") as copy:
                for _ in range(2):
                    await copy.write("rows that are never kept\n" * 4000)
                await kill(victim, "ClientRead")
        victim = await psycopg.AsyncConnection.connect(dsn, autocommit=True)
        killer = asyncio.create_task(kill(victim, "PgSleep"))
        with ledger.operation("wait", state):
            await victim.execute("SELECT pg_sleep(100)")
        await killer
        await other.close()

    asyncio.run(ask())
    server.close()
    return jsonify(ledger.operations)


@app.get("/killed-asyncpg")
def killed_asyncpg():
    """The same with the driver that speaks the protocol itself."""
    import asyncpg

    ledger, context = Ledger(), tls_context() or False
    state = lambda error: getattr(error, "sqlstate", type(error).__name__)
    how = {"host": "127.0.0.1", "port": port(), "user": "app", "database": "shop", "ssl": context}
    server = PostgresqlServer()

    async def ask():
        other = await asyncpg.connect(**how)

        async def kill(victim, event):
            pid = victim.get_server_pid()
            await server.end(pid, event, other.execute(f"SELECT pg_terminate_backend({pid})"))

        victim, is_killed = await asyncpg.connect(**how), False

        async def take(_):
            nonlocal is_killed
            if not is_killed:
                is_killed = True
                await kill(victim, "ClientWrite")

        with ledger.operation("out", state):
            await victim.copy_from_query(MANY_ROWS, output=take)
        victim = await asyncpg.connect(**how)

        async def give():
            yield b"rows that are never kept\n" * 4000
            await kill(victim, "ClientRead")
            yield b"rows that are never kept\n" * 4000

        with ledger.operation("in", state):
            await victim.copy_to_table("log", columns=["text"], source=give())
        victim = await asyncpg.connect(**how)
        killer = asyncio.create_task(kill(victim, "PgSleep"))
        with ledger.operation("wait", state):
            await victim.execute("SELECT pg_sleep(100)")
        await killer
        await other.close()

    asyncio.run(ask())
    server.close()
    return jsonify(ledger.operations)


class MariadbServer:
    """What MariaDB says of its connections."""

    def __init__(self):
        import pymysql

        how = {"ssl_ca": certificate()} if certificate() else {"ssl_disabled": True}
        self.connection = pymysql.connect(
            host="127.0.0.1", port=port(), user="app", database="shop", autocommit=True, **how
        )

    def state(self, number):
        with self.connection.cursor() as cursor:
            cursor.execute(f"SELECT state FROM information_schema.processlist WHERE id = {number}")
            return cursor.fetchone()[0]

    def wait_until_in(self, number, state):
        wait_until(lambda: self.state(number), state.__eq__, 5)

    def close(self):
        self.connection.close()


@app.get("/killed-mysql")
def killed_mysql():
    """Connections that are killed: in the middle of rows, and while one waits."""
    import pymysql
    from pymysql.cursors import SSCursor

    ledger, code = Ledger(), lambda error: error.args[0]
    how = {"ssl_ca": certificate()} if certificate() else {"ssl_disabled": True}

    def connect():
        return pymysql.connect(host="127.0.0.1", port=port(), user="app", database="shop", **how)

    server, other = MariadbServer(), connect()

    def kill(victim, state):
        server.wait_until_in(victim.thread_id(), state)
        with other.cursor() as cursor:
            cursor.execute(f"KILL {victim.thread_id()}")

    victim = connect()
    with ledger.operation("rows", code):
        cursor = SSCursor(victim)
        cursor.execute(MANY_ROWS)
        cursor.fetchone()
        kill(victim, "Writing to net")
        while cursor.fetchone():
            pass
    victim = connect()
    killer = threading.Thread(target=kill, args=(victim, "User sleep"))
    killer.start()
    with ledger.operation("wait", code), victim.cursor() as cursor:
        cursor.execute("SELECT sleep(100)")
    killer.join()
    other.close()
    server.close()
    return jsonify(ledger.operations)


@app.get("/killed-aiomysql")
def killed_aiomysql():
    """As `killed_mysql`, where tasks read and wait."""
    import aiomysql

    ledger, code = Ledger(), lambda error: error.args[0]
    how = {"host": "127.0.0.1", "port": port(), "user": "app", "db": "shop", "ssl": tls_context()}
    server = MariadbServer()

    async def ask():
        other = await aiomysql.connect(**how)

        async def kill(victim, state):
            await asyncio.to_thread(server.wait_until_in, victim.thread_id(), state)
            async with other.cursor() as cursor:
                await cursor.execute(f"KILL {victim.thread_id()}")

        victim = await aiomysql.connect(**how)
        with ledger.operation("rows", code):
            cursor = await victim.cursor(aiomysql.SSCursor)
            await cursor.execute(MANY_ROWS)
            await cursor.fetchone()
            await kill(victim, "Writing to net")
            while await cursor.fetchone():
                pass
        victim = await aiomysql.connect(**how)
        killer = asyncio.create_task(kill(victim, "User sleep"))
        with ledger.operation("wait", code):
            async with victim.cursor() as cursor:
                await cursor.execute("SELECT sleep(100)")
        await killer
        other.close()

    asyncio.run(ask())
    server.close()
    return jsonify(ledger.operations)


class RedisServer:
    """What Redis says of its connections, and their end."""

    def __init__(self):
        import redis

        how = {"ssl": True, "ssl_ca_certs": certificate()} if certificate() else {}
        self.connection = redis.Redis(host="127.0.0.1", port=port(), **how)

    def kill(self, number):
        """Waits until the connection is given an answer, or is blocked; then ends it."""

        def waits(said):
            client, = said
            return client["omem"] != "0" or "b" in client["flags"]

        wait_until(lambda: self.clients(number), waits, 5)
        self.connection.client_kill_filter(_id=number)

    def clients(self, number):
        kept = ("omem", "flags", "cmd")
        return [{name: client[name] for name in kept} for client in self.connection.client_list(client_id=[number])]

    def close(self):
        self.connection.close()


@app.get("/killed-redis")
def killed_redis():
    """Connections that are killed: in the middle of a value, and while one waits."""
    import redis

    ledger, server = Ledger(), RedisServer()
    how = {"ssl": True, "ssl_ca_certs": certificate()} if certificate() else {}
    server.connection.set("large", b"x" * 50_000_000)

    def killed(*command):
        victim = redis.Redis(host="127.0.0.1", port=port(), **how).connection_pool.get_connection()
        victim.send_command("CLIENT", "ID")
        number = victim.read_response()
        with ledger.operation(command[0]):
            victim.send_command(*command)
            server.kill(number)
            until_end(victim._sock.recv)
        victim.disconnect()

    killed("GET", "large")
    killed("BLPOP", "nothing", "0")
    server.close()
    return jsonify(ledger.operations)


@app.get("/killed-redis-asyncio")
def killed_redis_asyncio():
    """As `killed_redis`, where tasks read and wait."""
    import redis.asyncio

    ledger, server = Ledger(), RedisServer()
    how = {"ssl": True, "ssl_ca_certs": certificate()} if certificate() else {}
    how |= {"host": "127.0.0.1", "port": port(), "retry": None}
    server.connection.set("large", b"x" * 50_000_000)

    async def ask():
        async def killed(*command):
            victim = await redis.asyncio.Redis(**how).connection_pool.get_connection()
            await victim.send_command("CLIENT", "ID")
            number = await victim.read_response()
            with ledger.operation(command[0]):
                await victim.send_command(*command)
                await asyncio.to_thread(server.kill, number)
                with contextlib.suppress(ConnectionError):
                    while await victim._reader.read(65536):
                        pass
            await victim.disconnect()

        await killed("GET", "large")
        await killed("BLPOP", "nothing", "0")

    asyncio.run(ask())
    server.close()
    return jsonify(ledger.operations)


@app.get("/killed-memcached")
def killed_memcached():
    """The server itself is killed in the middle of an answer."""
    import signal
    import socket

    ledger = Ledger()

    def connect():
        connection = socket.create_connection(("127.0.0.1", port()))
        return tls_context().wrap_socket(connection, server_hostname="127.0.0.1") if certificate() else connection

    def state(observer, victim):
        """What the server does for the victim, as it tells the observer."""
        observer.sendall(b"stats conns\r\n")
        said = b""
        while not said.endswith(b"END\r\n"):
            said += observer.recv(65536)
        words = [line.split() for line in said.decode().splitlines()]
        stats = {word[1]: word[2] for word in words if len(word) == 3}
        address = "tcp:{}:{}".format(*victim.getsockname())
        number, = (name.split(":")[0] for name, value in stats.items() if value == address)
        return stats[f"{number}:state"]

    connection, observer = connect(), connect()
    connection.sendall(b"set large 0 0 1000000\r\n" + b"x" * 1_000_000 + b"\r\n")
    assert connection.recv(100) == b"STORED\r\n"
    with ledger.operation("get"):
        connection.sendall(b"get " + b" ".join([b"large"] * 100) + b"\r\n")
        connection.recv(100)
        wait_until(lambda: state(observer, connection), "conn_mwrite".__eq__, 5)
        os.kill(int(request.args["pid"]), signal.SIGKILL)
        until_end(connection.recv)
    connection.close()
    observer.close()
    return jsonify(ledger.operations)

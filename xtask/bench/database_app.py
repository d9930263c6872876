"""Views that ask a database one thing, on a connection that each thread keeps: `DATABASE_PORT` is where it listens."""

import os
import threading

from flask import Flask

app = Flask(__name__)
kept = threading.local()
port = int(os.environ["DATABASE_PORT"])


@app.get("/redis")
def ask_redis():
    if not hasattr(kept, "redis"):
        import redis

        kept.redis = redis.Redis(host="127.0.0.1", port=port)
    kept.redis.get("key")
    return {"hello": "world"}


@app.get("/postgresql")
def ask_postgresql():
    if not hasattr(kept, "postgresql"):
        import psycopg

        dsn = f"host=127.0.0.1 port={port} user=app dbname=postgres sslmode=disable"
        kept.postgresql = psycopg.connect(dsn, autocommit=True)
    kept.postgresql.execute("SELECT 1 WHERE 1 = %s", (1,)).fetchone()
    return {"hello": "world"}

"""A GET by asyncio's own streams, of the server that the apps of lineage call."""

import asyncio
from urllib.parse import urlsplit


async def fetch_with_streams(url):
    parts = urlsplit(url)
    reader, writer = await asyncio.open_connection(parts.hostname, parts.port)
    writer.write(f"GET {parts.path}?{parts.query} HTTP/1.1\r\nHost: leaf\r\n\r\n".encode())
    await reader.readuntil(b"\r\n\r\nok")
    writer.close()

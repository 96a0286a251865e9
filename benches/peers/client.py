"""A small HTTP client: it loads servers, checks what they answer and reads needles one by one.

Load is not its business; for that there is wrk, see `load.py`.
"""

import asyncio


class BadAnswer(Exception):
    """A server answered something else than it should."""


class Connection:
    """One connection that is kept open."""

    def __init__(self, address):
        self.address = address
        self.reader = self.writer = None

    async def open(self):
        host, port = self.address.rsplit(":", 1)
        self.reader, self.writer = await asyncio.open_connection(host, int(port), limit=4 << 20)

    def close(self):
        if self.writer:
            self.writer.close()

    async def ask(self, method, path, body=b"", headers=""):
        """Status, headers with small names, and body."""
        if not self.writer:
            await self.open()
        head = f"{method} {path} HTTP/1.1\r\nHost: {self.address}\r\n{headers}Content-Length: {len(body)}\r\n\r\n"
        self.writer.write(head.encode() + body)
        lines = (await self.reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        fields = dict(line.split(":", 1) for line in lines[1:] if line)
        fields = {name.strip().lower(): value.strip() for name, value in fields.items()}
        return int(lines[0].split(" ", 2)[1]), fields, await self.body(fields)

    async def body(self, fields):
        if fields.get("transfer-encoding") != "chunked":
            return await self.reader.readexactly(int(fields.get("content-length", 0)))
        pieces = []
        while size := int((await self.reader.readuntil(b"\r\n")).split(b";")[0], 16):
            pieces.append(await self.reader.readexactly(size))
            await self.reader.readexactly(2)
        await self.reader.readuntil(b"\r\n")
        return b"".join(pieces)


async def _each(address, items, work, connections):
    left = iter(items)

    async def worker():
        connection = Connection(address)
        try:
            for item in left:
                await work(connection, item)
        finally:
            connection.close()

    async with asyncio.TaskGroup() as group:
        for _ in range(connections):
            group.create_task(worker())


def each(address, items, work, connections=32):
    """Runs `work(connection, item)` for all items, some at a time."""
    asyncio.run(_each(address, items, work, connections))


def ask(address, method, path, body=b"", headers=""):
    """One request on a connection of its own; anything but success is an error."""

    async def once():
        connection = Connection(address)
        try:
            return await connection.ask(method, path, body, headers)
        finally:
            connection.close()

    status, fields, answer = asyncio.run(once())
    if not 200 <= status < 300:
        raise BadAnswer(f"{method} {path} at {address}: {status} {answer[:200]!r}")
    return fields, answer


def put_all(address, puts, then=lambda item, fields: None, connections=32):
    """Puts files: `puts` are tuples of an item, a path and the file."""

    async def put(connection, one):
        item, path, file = one
        status, fields, answer = await connection.ask("PUT", path, file.read_bytes(), "Content-Type: image/jpeg\r\n")
        if status not in (200, 201, 204):
            raise BadAnswer(f"PUT {path} at {address}: {status} {answer[:200]!r}")
        then(item, fields)

    each(address, puts, put, connections)


def check_all(address, gets):
    """Whether paths answer the bytes of files."""

    async def get(connection, one):
        path, file = one
        status, _, answer = await connection.ask("GET", path)
        if status != 200 or answer != file.read_bytes():
            raise BadAnswer(f"GET {path} at {address}: {status}, {len(answer)} bytes that differ from {file}")

    each(address, gets, get, 4)

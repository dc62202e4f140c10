"""A server of tools made with the official mcp package, over streamable HTTP on a free port of 127.0.0.1; prints its URL. With --stdio it
is a program instead, spoken to over standard input and output.

With --token it wants `Authorization: Bearer TOKEN`; with --json it answers with JSON in place of events.
"""

import argparse
import asyncio
import socket

import uvicorn
from mcp.server.mcpserver import Context, MCPServer

server = MCPServer("notes", log_level="ERROR")


@server.tool()
def add(a: int, b: int) -> int:
    """Adds two numbers."""
    return a + b


@server.tool()
def echo(text: str) -> str:
    """Says the same again."""
    return text


@server.tool()
async def count(to: int, ctx: Context) -> str:
    """Counts, with progress."""
    for n in range(1, to + 1):
        await ctx.report_progress(n, to, f"{n} of {to}")
    return f"counted to {to}"


@server.tool()
def fail() -> str:
    """Fails."""
    raise ValueError("this tool fails on purpose")


@server.tool()
def delete_everything() -> str:
    """Must never be called."""
    raise SystemExit("a denied tool was called")


@server.tool()
async def sleep() -> str:
    """Sleeps until it is cancelled, and says so in the list that `cancelled` shows."""
    try:
        await asyncio.sleep(600)
    except asyncio.CancelledError:
        CANCELLED.append("sleep")
        raise
    return "slept"


@server.tool()
def cancelled() -> int:
    """How many sleeps were cancelled."""
    return len(CANCELLED)


CANCELLED = []


def guarded(app, token):
    async def wrapped(scope, receive, send):
        if scope["type"] == "http" and token:
            sent = dict(scope["headers"]).get(b"authorization", b"").decode()
            if sent != f"Bearer {token}":
                await send({"type": "http.response.start", "status": 401, "headers": [(b"www-authenticate", b"Bearer")]})
                await send({"type": "http.response.body", "body": b""})
                return
        await app(scope, receive, send)

    return wrapped


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--token", default="")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--stdio", action="store_true")
    options = parser.parse_args()
    if options.stdio:
        return server.run("stdio")
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    listener.listen(100)
    app = guarded(server.streamable_http_app(json_response=options.json), options.token)
    print(f"http://127.0.0.1:{listener.getsockname()[1]}/mcp", flush=True)
    uvicorn.Server(uvicorn.Config(app, log_level="error")).run(sockets=[listener])


if __name__ == "__main__":
    main()

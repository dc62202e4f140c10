"""A server of tools with Python's standard library alone, to try things out with: streamable HTTP on a free port of 127.0.0.1.

Prints its URL. It has `add`, `now` and `delete_everything`, which only says that it was called.
"""

import json
import os
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

TOOLS = {
    "add": ("Adds two numbers.", {"a": {"type": "number"}, "b": {"type": "number"}}, lambda a: str(a["a"] + a["b"])),
    "now": ("The time, in seconds since 1970.", {}, lambda a: str(int(time.time()))),
    "delete_everything": ("Deletes nothing.", {}, lambda a: "Everything would be gone now."),
}


def answer(method, params):
    if method == "initialize":
        return {
            "protocolVersion": params["protocolVersion"],
            "capabilities": {"tools": {}},
            "serverInfo": {"name": "tools", "version": "1"},
        }
    if method == "tools/list":
        return {
            "tools": [
                {"name": name, "description": text, "inputSchema": {"type": "object", "properties": properties}}
                for name, (text, properties, _) in TOOLS.items()
            ]
        }
    if method == "tools/call":
        try:
            text, failed = TOOLS[params["name"]][2](params.get("arguments", {})), False
        except (KeyError, TypeError) as error:
            text, failed = f"wrong arguments: {error}", True
        return {"content": [{"type": "text", "text": text}], "isError": failed}
    return {}


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        message = json.loads(self.rfile.read(int(self.headers["content-length"])))
        if "id" not in message:
            self.reply(202, b"")
            return
        result = answer(message["method"], message.get("params", {}))
        self.reply(200, json.dumps({"jsonrpc": "2.0", "id": message["id"], "result": result}).encode())

    def reply(self, status, body):
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


if __name__ == "__main__":
    os.closerange(3, 4096)  # whoever starts it may have left some open
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    print(f"http://127.0.0.1:{server.server_port}/mcp", flush=True)
    server.serve_forever()

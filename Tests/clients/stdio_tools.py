"""A server of tools with Python's standard library alone, over standard input and output, to try things out with.

It has `add`, `surroundings`, which tells what it can see, and `die`.
"""

import json
import os
import sys


def surroundings(_):
    return json.dumps({"variables": sorted(os.environ), "root": sorted(os.listdir("/")), "user": os.getuid(), "home": os.listdir()})


TOOLS = {
    "add": ("Adds two numbers.", lambda a: str(a["a"] + a["b"])),
    "surroundings": ("What the program can see.", surroundings),
    "die": ("Ends the program.", lambda a: os._exit(3)),
}


def answer(method, params):
    if method == "initialize":
        return {"protocolVersion": params["protocolVersion"], "capabilities": {"tools": {}}, "serverInfo": {"name": "t", "version": "1"}}
    if method == "tools/list":
        return {"tools": [{"name": n, "description": t[0], "inputSchema": {"type": "object"}} for n, t in TOOLS.items()]}
    if method == "tools/call":
        return {"content": [{"type": "text", "text": TOOLS[params["name"]][1](params.get("arguments", {}))}]}
    return {}


for line in sys.stdin:
    message = json.loads(line)
    if "id" in message and "method" in message:
        result = answer(message["method"], message.get("params", {}))
        print(json.dumps({"jsonrpc": "2.0", "id": message["id"], "result": result}), flush=True)

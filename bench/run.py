#!/usr/bin/env python3
"""Measures the gateway side by side with plain proxies on one upstream, then the sandbox and the loop.

    make bench                 the whole run
    make bench BENCH=gateway   one part: gateway, streams, sandbox, loop

CPU microseconds per request and ratios are what can be trusted on a shared machine; times are upper bounds. The run refuses to start
unless the database is durable (fsync, full_page_writes, synchronous_commit on) and fails unless afterwards every answer has its
interception and its ledger row, nothing is held, and the audit chain verifies.
"""
import json
import os
import re
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(HERE)
BIN = os.environ.get("SLIPWAY_BIN") or sys.exit("bench: run this as 'make bench'")
SECONDS = os.environ.get("SECONDS_PER_CELL", "4")
TICK = os.sysconf("SC_CLK_TCK")
WORK = tempfile.mkdtemp(prefix="slipway-bench.")
os.chmod(WORK, 0o711)
PORTS = {"upstream": 18170, "upstream20": 18171, "paced": 18172, "nginx": 18180, "nginx20": 18181, "nginxpaced": 18182,
         "caddy": 18190, "caddy20": 18191, "caddypaced": 18192, "slipway": 18200}
children = []


def run(*command, check=True, **more):
    result = subprocess.run([str(c) for c in command], capture_output=True, text=True, **more)
    if check and result.returncode != 0:
        raise SystemExit(f"bench: {' '.join(map(str, command))} failed ({result.returncode}):\n{result.stdout}{result.stderr}")
    return result


def start(*command, **more):
    log = open(os.path.join(WORK, os.path.basename(str(command[0])) + f".{len(children)}.log"), "w")
    child = subprocess.Popen([str(c) for c in command], stdout=log, stderr=subprocess.STDOUT, **more)
    children.append(child)
    return child


def stop_all():
    for child in reversed(children):
        if child.poll() is None:
            child.send_signal(signal.SIGTERM)
    for child in reversed(children):
        try:
            child.wait(30)
        except subprocess.TimeoutExpired:
            child.kill()
    shutil.rmtree(WORK, ignore_errors=True)


def processes():
    found = {}
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            text = open(f"/proc/{pid}/stat").read()
        except OSError:
            continue
        name = text[text.index("(") + 1:text.rindex(")")]
        fields = text.rsplit(")", 1)[1].split()
        found[int(pid)] = (name, int(fields[1]), (int(fields[11]) + int(fields[12])) / TICK)
    return found


def tree(root, found):
    members, grew = {root}, True
    while grew:
        more = {pid for pid, (_, parent, _) in found.items() if parent in members} - members
        members |= more
        grew = bool(more)
    return members & found.keys()


def cpu(roots, postgres=None):
    """CPU seconds so far: (the trees of `roots` without PostgreSQL, the tree of the process `postgres`)."""
    found = processes()
    database = tree(postgres, found) if postgres else set()
    own = set().union(*(tree(root, found) for root in roots)) - database
    return sum(found[pid][2] for pid in own), sum(found[pid][2] for pid in database)


def resident_kib(roots):
    total = 0
    for pid in set().union(*(tree(root, processes()) for root in roots)):
        try:
            total += int(re.search(r"^Pss:\s+(\d+)", open(f"/proc/{pid}/smaps_rollup").read(), re.M).group(1))
        except (OSError, AttributeError):
            pass
    return total


def wait_for(port, path="/", seconds=60):
    deadline = time.time() + seconds
    while time.time() < deadline:
        try:
            urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=1)
            return
        except urllib.error.HTTPError:
            return
        except OSError:
            time.sleep(0.05)
    raise SystemExit(f"bench: nothing answers on port {port}; logs are in {WORK}")


class Target:
    def __init__(self, name, port, roots, path, headers=(), postgres=None):
        self.name, self.port, self.roots, self.path, self.headers, self.postgres = name, port, roots, path, list(headers), postgres

    def load(self, body, connections, seconds=SECONDS, once=False):
        before = cpu(self.roots, self.postgres)
        command = [os.path.join(WORK, "load"), *(["-1"] if once else []), self.port, self.path, connections, seconds, body, *self.headers]
        result = run(*command, check=False)
        after = cpu(self.roots, self.postgres)
        if not result.stdout.strip():
            raise SystemExit(f"bench: no answer from {self.name}: {result.stderr}")
        figures = json.loads(result.stdout)
        figures["note"] = result.stderr.strip()
        answered = max(1, figures["n"])
        figures["cpu_us"] = (after[0] - before[0]) * 1e6 / answered
        figures["db_us"] = (after[1] - before[1]) * 1e6 / answered
        return figures


def write(name, text):
    path = os.path.join(WORK, name)
    with open(path, "w") as file:
        file.write(text)
    return path


BODIES = {}


def prepare():
    os.system(f"cc -O2 -o {WORK}/upstream {HERE}/upstream.c && cc -O2 -o {WORK}/load {HERE}/load.c")
    sentence = "Write one sentence about the sea, please, and keep it short."
    for streamed in (False, True):
        body = {"model": "bench-model", "max_tokens": 100, "messages": [{"role": "user", "content": sentence}]}
        if streamed:
            body["stream"] = True
        BODIES["messages", streamed] = write(f"messages-{streamed}.json", json.dumps(body))
        if streamed:
            body["stream_options"] = {"include_usage": True}
        BODIES["chat", streamed] = write(f"chat-{streamed}.json", json.dumps(body))
    start(f"{WORK}/upstream", PORTS["upstream"])
    start(f"{WORK}/upstream", PORTS["upstream20"], 20)
    start(f"{WORK}/upstream", PORTS["paced"], 20, 500, 20)
    proxies = {}
    nginx = shutil.which("nginx") or "/usr/sbin/nginx"
    for suffix, upstream in (("", "upstream"), ("20", "upstream20"), ("paced", "paced")):
        os.makedirs(f"{WORK}/nginx{suffix}", exist_ok=True)
        text = open(f"{HERE}/nginx.conf").read().replace("PORT", str(PORTS["nginx" + suffix])).replace("WORK", f"{WORK}/nginx{suffix}")
        proxies["nginx" + suffix] = start(nginx, "-c", write(f"nginx{suffix}.conf", text.replace("UPSTREAM", str(PORTS[upstream]))))
        environment = dict(os.environ, PORT=str(PORTS["caddy" + suffix]), UPSTREAM=str(PORTS[upstream]), HOME=WORK)
        proxies["caddy" + suffix] = start("caddy", "run", "--config", f"{HERE}/Caddyfile", "--adapter", "caddyfile", env=environment)
    return proxies

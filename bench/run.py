#!/usr/bin/env python3
"""Measures the gateway side by side with plain proxies on one upstream, then streams, workspaces and the loop.

    make bench                 the whole run
    make bench BENCH=gateway   one part: gateway, streams, sandbox, loop, record (a server of its own)

CPU microseconds per request and ratios are what can be trusted on a shared machine; times are upper bounds. The run refuses to start
unless the database is durable (fsync, full_page_writes, synchronous_commit on) and fails unless afterwards every answer has its
interception and its ledger row, nothing is held, and the audit chain verifies.
"""
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request

import record
import workspaces

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(HERE)
# The server refuses variables that it does not know.
BIN = os.environ.pop("SLIPWAY_BIN", None) or sys.exit("bench: run this as 'make bench'")
SECONDS = os.environ.get("SECONDS_PER_CELL", "4")
TICK = os.sysconf("SC_CLK_TCK")
WORK = tempfile.mkdtemp(prefix="slipway-bench.")
os.chmod(WORK, 0o711)
# Moved as a block where somebody else has them.
BASE = int(os.environ.get("BENCH_PORT", "18170"))
PORTS = {"upstream": 0, "upstream20": 1, "paced": 2, "nginx": 10, "nginx20": 11, "nginxpaced": 12, "caddy": 20, "caddy20": 21,
         "caddypaced": 22, "slipway": 30, "model": 40}
PORTS = {name: BASE + offset for name, offset in PORTS.items()}
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


class Slipway:
    """The server under measurement, on an embedded and durable database, with policy, budget, content recording and audit on."""

    def __init__(self):
        self.data = os.path.join(WORK, "data")
        self.url = f"http://127.0.0.1:{PORTS['slipway']}"
        self.process = start(f"{BIN}/slipway-server", "--data-dir", self.data, "--listen", f"127.0.0.1:{PORTS['slipway']}")
        self.log = os.path.join(WORK, f"slipway-server.{len(children) - 1}.log")
        wait_for(PORTS["slipway"], "/readyz")
        code = None
        deadline = time.time() + 30
        while not code and time.time() < deadline:
            code = re.search(r"set-up code\s+([A-Za-z0-9-]{8,})", open(self.log).read())
            time.sleep(0.05)
        self.environment = dict(os.environ, SLIPWAY_CONFIG_DIR=f"{WORK}/config", SLIPWAY_URL=self.url)
        self.environment.pop("SLIPWAY_TOKEN", None)
        password = os.urandom(12).hex()
        self.cli("login", self.url, "--first-user", "--setup-code", code.group(1), "--username", "bench", "--email", "bench@example.com",
                 "--password-stdin", input=password + "\n")
        for name, kind, port in (("messages", "anthropic", "upstream"), ("chat", "openai", "upstream"), ("chat20", "openai", "upstream20"),
                                 ("paced", "openai", "paced")):
            base = f"http://127.0.0.1:{PORTS[port]}" + ("" if kind == "anthropic" else "/v1")
            self.cli("providers", "add", name, "--type", kind, "--base-url", base, "--key-stdin", "--allow-private", input="sk-bench-0123456789\n")
        for kind in ("anthropic", "openai"):
            self.cli("models", "price", "bench-model", "--type", kind, "--input-price", "3", "--output-price", "15")
        self.cli("models", "allow", "bench", "--model", "*/bench-model", "--role", "owner")
        self.cli("budget", "set", "bench", "1000000")
        self.token = self.cli("tokens", "create", "--name", "bench", "--scope", "gateway").strip()
        pid_file = open(os.path.join(self.data, "postgres/data/postmaster.pid")).read().split("\n")
        self.postgres, self.socket = int(pid_file[0]), pid_file[4]
        self.database_password = open(os.path.join(self.data, "postgres/password")).read().strip()
        for setting in ("fsync", "full_page_writes", "synchronous_commit"):
            if self.sql(f"SHOW {setting}") != "on":
                raise SystemExit(f"bench: refused: {setting} is off, so the figures would say nothing")

    def cli(self, *arguments, **more):
        return run(f"{BIN}/slipway", *arguments, env=self.environment, **more).stdout

    def sql(self, query):
        environment = dict(os.environ, PGPASSWORD=self.database_password)
        return run("psql", "-h", self.socket, "-U", "slipway", "-d", "postgres", "-Atqc", query, env=environment).stdout.strip()

    def database_cpu(self):
        found = processes()
        return sum(found[pid][2] for pid in tree(self.postgres, found))

    def target(self, provider, path):
        return Target("slipway", PORTS["slipway"], [self.process.pid], f"/api/v2/ai-gateway/{provider}{path}",
                      [f"Authorization: Bearer {self.token}"], self.postgres)

    def verify(self, answered):
        """The honesty checks: what was answered is on record, paid and provable, and nothing is held."""
        deadline = time.time() + 60
        while time.time() < deadline and self.sql("SELECT count(*) FROM ai_holds") != "0":
            time.sleep(0.2)
        counts = {name: int(self.sql(query)) for name, query in (
            ("interceptions", "SELECT count(*) FROM ai_interceptions WHERE status <> 'refused'"),
            ("completed", "SELECT count(*) FROM ai_interceptions WHERE status = 'completed'"),
            ("ledger rows", "SELECT count(*) FROM ai_ledger"),
            ("held", "SELECT coalesce(sum(held), 0) FROM ai_budgets"),
            ("spent", "SELECT coalesce(sum(spent), 0) FROM ai_budgets"),
            ("ledger cost", "SELECT coalesce(sum(cost), 0) FROM ai_ledger"))}
        verified = run(f"{BIN}/slipway", "audit", "verify", env=self.environment, check=False)
        print(f"\nanswered {answered}, on record {counts}, audit: {verified.stdout.strip()}")
        problems = []
        # A connection that the load closes at its end leaves a call that nobody counted: those are on record as left or completed.
        if counts["completed"] < answered:
            problems.append("answers are missing from the record")
        if counts["interceptions"] != counts["ledger rows"]:
            problems.append("interceptions and ledger rows differ")
        if counts["held"] != 0 or counts["spent"] != counts["ledger cost"]:
            problems.append("the budget does not agree with the ledger")
        if verified.returncode != 0:
            problems.append("the audit chain does not verify")
        if problems:
            raise SystemExit("bench: FAILED: " + "; ".join(problems))


def row(*cells):
    widths = (26, 6, 12, 9, 9, 9, 9, 9, 9, 8)
    print("".join(f"{str(cell):<{width}}" if index in (0, 2) else f"{str(cell):>{width}} " for index, (cell, width) in enumerate(zip(cells, widths))), flush=True)


def measure_gateway(slipway, proxies):
    answered = 0
    cells = (("messages", "/v1/messages", "upstream", "", False), ("chat", "/v1/chat/completions", "upstream", "", False),
             ("messages", "/v1/messages", "upstream", "", True), ("chat20", "/v1/chat/completions", "upstream20", "20", False))
    row("path", "conc", "through", "req/s", "p50 ms", "p99 ms", "CPU µs", "DB µs", "vs caddy", "errors")
    for provider, path, upstream, suffix, streamed in cells:
        kind = "messages" if "messages" in path else "chat"
        body = BODIES[kind, streamed]
        title = f"{kind}{' streamed' if streamed else ''}{' after 20 ms' if suffix else ''}"
        gateway_path = path if kind == "messages" else path.replace("/v1", "", 1)
        targets = [
            Target("direct", PORTS[upstream], [], path),
            Target("nginx", PORTS["nginx" + suffix], [proxies["nginx" + suffix].pid], path),
            Target("caddy", PORTS["caddy" + suffix], [proxies["caddy" + suffix].pid], path),
            slipway.target(provider, os.environ.get("GATEWAY_PREFIX", "/v1") + gateway_path.removeprefix("/v1")),
        ]
        for connections in (1, 32, 256):
            rates = {}
            for target in targets:
                figures = target.load(body, connections)
                rates[target.name] = figures["rps"]
                if target.name == "slipway":
                    answered += figures["n"]
                ratio = f"{figures['rps'] / rates['caddy']:.2f}" if rates.get("caddy") else ""
                row(title, connections, target.name, f"{figures['rps']:.0f}", f"{figures['p50']:.2f}", f"{figures['p99']:.2f}",
                    f"{figures['cpu_us']:.0f}" if target.roots else "", f"{figures['db_us']:.0f}" if target.postgres else "", ratio,
                    figures["errors"])
                if figures["note"]:
                    print("  " + figures["note"])
    return answered


def measure_streams(slipway, proxies, count=1000):
    print(f"\n{count} streams at once: 20 events each, one in 500 ms")
    answered = 0
    targets = [Target("nginx", PORTS["nginxpaced"], [proxies["nginxpaced"].pid], "/v1/chat/completions"),
               Target("caddy", PORTS["caddypaced"], [proxies["caddypaced"].pid], "/v1/chat/completions"),
               slipway.target("paced", os.environ.get("GATEWAY_PREFIX", "/v1") + "/chat/completions")]
    for target in targets:
        roots = target.roots if not target.postgres else [slipway.process.pid]
        database = tree(slipway.postgres, processes()) if target.postgres else set()
        own = lambda: sum(resident_kib_of(pid) for pid in (set().union(*(tree(root, processes()) for root in roots)) - database))
        idle = own()
        command = [os.path.join(WORK, "load"), "-1", target.port, target.path, count, 40, BODIES["chat", True], *target.headers]
        child = subprocess.Popen([str(c) for c in command], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        time.sleep(6)
        full = own()
        out, err = child.communicate()
        figures = json.loads(out)
        if target.postgres:
            answered += figures["n"]
        print(f"  {target.name:<10} finished {figures['n']:>5}, errors {figures['errors']}, {(full - idle) / count:6.1f} KiB a stream, "
              f"longest silence {figures['stall']:.0f} ms {err.strip()}", flush=True)
    return answered


def resident_kib_of(pid):
    try:
        return int(re.search(r"^Pss:\s+(\d+)", open(f"/proc/{pid}/smaps_rollup").read(), re.M).group(1))
    except (OSError, AttributeError):
        return 0


def main():
    part = sys.argv[1] if len(sys.argv) > 1 else "all"
    print(f"Slipway bench on {os.uname().release}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}, {time.strftime('%Y-%m-%d %H:%M')} UTC")
    try:
        if part == "record":
            return record.measure_record(Slipway())
        proxies = prepare()
        slipway = Slipway()
        wait_for(PORTS["nginx"])
        wait_for(PORTS["caddy"])
        answered = 0
        if part in ("all", "gateway"):
            answered += measure_gateway(slipway, proxies)
        if part in ("all", "streams"):
            answered += measure_streams(slipway, proxies)
        if part in ("all", "sandbox"):
            workspaces.measure_sandbox(slipway)
        if part in ("all", "loop"):
            answered += workspaces.measure_loop(slipway, WORK, start, BIN, PORTS["model"], wait_for)
        slipway.verify(answered)
    finally:
        stop_all()


if __name__ == "__main__":
    main()

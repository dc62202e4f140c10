"""The parts of the bench that are not about plain model calls: workspaces, commands in them, and the loop."""
import http.client
import json
import os
import subprocess
import time

STEPS = 200
PROMPT = "bench: loop"


def percentile(values, share):
    values = sorted(values)
    return values[min(len(values) - 1, int(len(values) * share))]


def spread(values):
    return f"median {percentile(values, 0.5):.2f} ms, p99 {percentile(values, 0.99):.2f} ms"


class Client:
    """One kept connection to the server, so that what is measured is the server's own time."""

    def __init__(self, slipway):
        host = slipway.url.removeprefix("http://")
        with open(os.path.join(slipway.environment["SLIPWAY_CONFIG_DIR"], "login.json")) as file:
            token = json.load(file)["token"]
        self.connection = http.client.HTTPConnection(host, timeout=120)
        self.headers = {"Authorization": "Bearer " + token, "Content-Type": "application/json"}

    def call(self, method, path, body=None):
        """The answer, and how many milliseconds it took."""
        begin = time.perf_counter()
        self.connection.request(method, "/api/v2" + path, json.dumps(body) if body is not None else None, self.headers)
        answer = self.connection.getresponse()
        data = answer.read()
        took = (time.perf_counter() - begin) * 1000
        if answer.status >= 300:
            raise SystemExit(f"bench: {method} {path}: {answer.status} {data[:500]!r}")
        return json.loads(data) if data else None, took

    def read(self, path, watch):
        """A file: milliseconds to its first byte, seconds to its end, its lines, and the most that `watch` said meanwhile."""
        begin = time.perf_counter()
        self.connection.request("GET", path, None, self.headers)
        answer = self.connection.getresponse()
        if answer.status >= 300:
            raise SystemExit(f"bench: GET {path}: {answer.status} {answer.read()[:500]!r}")
        first, lines, most, looked = None, 0, watch(), begin
        while data := answer.read1(1 << 16):
            first = first or (time.perf_counter() - begin) * 1000
            lines += data.count(b"\n")
            if time.perf_counter() - looked > 0.5:
                most, looked = max(most, watch()), time.perf_counter()
        # Of an answer whose length was told the connection is free only after a read behind its end.
        answer.read()
        return first or 0.0, time.perf_counter() - begin, lines, max(most, watch())


def cpu_of(pid):
    """CPU seconds of one process, without its children."""
    fields = open(f"/proc/{pid}/stat").read().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def measure_sandbox(slipway, count=40):
    print("\nworkspaces: made, started and the agent ready, with database and job queue; then commands in one of them")
    client = Client(slipway)
    to_ready, to_end = [], []
    for index in range(count):
        begin = time.perf_counter()
        client.call("POST", "/workspaces", {"name": f"bench-{index}"})
        result, _ = client.call("POST", f"/workspaces/bench-{index}/exec", {"command": "true"})
        to_end.append((time.perf_counter() - begin) * 1000)
        if result["exit_code"] != 0:
            raise SystemExit(f"bench: the first command of a workspace failed: {result}")
    deadline = time.time() + 10
    # What the agent's connection is noted with is written behind it.
    while time.time() < deadline and slipway.sql("SELECT count(*) FROM workspace_agents WHERE first_connected_at IS NULL") != "0":
        time.sleep(0.1)
    rows = slipway.sql(
        """
        SELECT extract(epoch FROM greatest(a.first_connected_at, j.completed_at) - w.created_at) * 1000
        FROM workspaces w JOIN workspace_builds b ON b.workspace_id = w.id AND b.number = 1 JOIN provisioner_jobs j ON j.id = b.job_id
        JOIN workspace_agents a ON a.build_id = b.id WHERE w.name LIKE 'bench-%'
        """)
    to_ready = [float(row) for row in rows.split("\n") if row]
    print(f"  create to agent-ready, by the server's clock, {len(to_ready)} workspaces: {spread(to_ready)}")
    print(f"  create to the end of a first command, at a client:  {spread(to_end)}")
    rounds = [client.call("POST", "/workspaces/bench-0/exec", {"command": "true"})[1] for _ in range(500)]
    inside = [float(row) for row in slipway_seconds(client, 300)]
    print(f"  command round trip over HTTP (bash -c true), 500 times: {spread(rounds)}")
    print(f"  of which an HTTP request that looks up the workspace:   {spread(inside)}")
    for index in range(count):
        client.call("DELETE", f"/workspaces/bench-{index}")


def slipway_seconds(client, count):
    return [client.call("GET", "/workspaces/bench-0")[1] for _ in range(count)]


# MARK: Loop


def write_scenario(folder, steps):
    """One command per turn: each leaves the time of the model and of the tools near nothing."""
    os.makedirs(folder, exist_ok=True)
    rules = [
        {"turn": turn, "reply": {"text": f"Step {turn}.", "calls": [{"tool": "execute", "arguments": {"command": f"true {turn}"}}],
                                 "pace": {"first_ms": 0, "every_ms": 0, "characters": 4096}}}
        for turn in range(steps)]
    rules.append({"turn": steps, "reply": {"text": "Done\n\nAll commands ran."}})
    with open(os.path.join(folder, "bench.json"), "w") as file:
        json.dump({"description": "bench", "when": PROMPT, "rules": rules}, file)


def prepare_loop(slipway, work, start, binaries, port, wait_for):
    write_scenario(os.path.join(work, "scenarios"), STEPS)
    start(f"{binaries}/slipway-server", "demo-model", "--listen", f"127.0.0.1:{port}", "--scenarios", os.path.join(work, "scenarios"),
          "--speed", "0")
    wait_for(port)
    slipway.cli("providers", "add", "loop", "--type", "anthropic", "--base-url", f"http://127.0.0.1:{port}", "--key-stdin",
                "--allow-private", input="sk-bench-0123456789\n")
    slipway.cli("models", "price", "demo-scripted", "--type", "anthropic", "--input-price", "3", "--output-price", "15")
    slipway.cli("models", "allow", "bench-loop", "--model", "*/demo-scripted", "--role", "owner")
    repository = os.path.join(work, "repository")
    for command in (["init", "-q", "-b", "main", repository],
                    ["-C", repository, "-c", "user.name=B", "-c", "user.email=b@example.com", "commit", "-q", "--allow-empty", "-m", "one"]):
        subprocess.run(["git", *command], check=True)
    return repository


def measure_loop(slipway, work, start, binaries, port, wait_for):
    print(f"\nloop: one task of {STEPS} steps, a model that answers at once, one command ('true') in each step")
    repository = prepare_loop(slipway, work, start, binaries, port, wait_for)
    answered_before = int(slipway.sql("SELECT count(*) FROM ai_interceptions WHERE status = 'completed'"))
    created = json.loads(slipway.cli("task", "create", "--repo", repository, "--prompt", PROMPT, "--model", "loop/demo-scripted",
                                     "--max-steps", STEPS + 10, "--output", "json"))
    task = created["id"]
    where = f"task_id = '{task}'"
    wait_until(slipway, f"SELECT count(*) >= 1 FROM task_events WHERE {where} AND kind = 'step_started'")
    begin = snapshot(slipway)
    wait_until(slipway, f"SELECT status NOT IN ('queued', 'running', 'waiting') FROM tasks WHERE id = '{task}'", 300)
    end = snapshot(slipway)
    status = slipway.sql(f"SELECT status FROM tasks WHERE id = '{task}'")
    steps = int(slipway.sql(f"SELECT steps FROM tasks WHERE id = '{task}'"))
    if status != "completed" or steps != STEPS + 1:
        raise SystemExit(f"bench: the task is {status} after {steps} steps: " + slipway.sql(f"SELECT message FROM tasks WHERE id = '{task}'"))
    wall = numbers(slipway, f"""
        SELECT extract(epoch FROM lead(at) OVER (ORDER BY seq) - at) * 1000 FROM task_events WHERE {where} AND kind = 'step_started'""")
    answer = numbers(slipway, f"""
        SELECT extract(epoch FROM c.at - s.at) * 1000 FROM task_events s JOIN task_events c ON c.task_id = s.task_id AND c.kind = 'cost'
            AND c.payload->>'step' = s.payload->>'step' WHERE s.{where} AND s.kind = 'step_started'""")
    act = numbers(slipway, f"""
        SELECT extract(epoch FROM r.at - c.at) * 1000 FROM task_events r JOIN task_events c ON c.task_id = r.task_id AND c.kind = 'tool_call'
            AND c.payload->>'call' = r.payload->>'call' WHERE r.{where} AND r.kind = 'tool_result'""")
    parts = {name: (end["metrics"][name] - begin["metrics"].get(name, 0)) / steps * 1000 for name in end["metrics"]}
    model = direct_model(port, steps)
    tools = parts.get("tools", 0)
    print(f"  step, wall:                                  {spread(wall)}")
    print(f"    asked to answer on record (gateway included): {spread(answer)}")
    print(f"    answer to result on record (tool included):   {spread(act)}")
    print(f"  of it the model itself, asked directly:      {spread(model)}")
    print(f"  of it tools, mean:                           {tools:.2f} ms")
    own = percentile(wall, 0.5) - percentile(model, 0.5) - tools
    print(f"  neither model nor tool:                      {own:.2f} ms at the median (aim: under 10)")
    print("  by the server's own clocks, mean ms a step:  " + ", ".join(f"{name} {value:.2f}" for name, value in sorted(parts.items())))
    print(f"  CPU a step: server {(end['server'] - begin['server']) / steps * 1e6:.0f} µs, PostgreSQL "
          f"{(end['database'] - begin['database']) / steps * 1e6:.0f} µs; flushes of the write-ahead log a step: "
          f"{(end['flushes'] - begin['flushes']) / steps:.1f}", flush=True)
    workspace = slipway.sql(f"SELECT workspace_id FROM tasks WHERE id = '{task}'")
    Client(slipway).call("DELETE", f"/workspaces/{workspace}")
    return int(slipway.sql("SELECT count(*) FROM ai_interceptions WHERE status = 'completed'")) - answered_before


def numbers(slipway, query):
    return [float(row) for row in slipway.sql(query).split("\n") if row]


def wait_until(slipway, query, seconds=60):
    deadline = time.time() + seconds
    while slipway.sql(query) != "t":
        if time.time() > deadline:
            raise SystemExit(f"bench: this never came true: {query}")
        time.sleep(0.5)


def snapshot(slipway):
    metrics = {}
    connection = http.client.HTTPConnection(slipway.url.removeprefix("http://"))
    connection.request("GET", "/metrics", headers=Client(slipway).headers)
    for line in connection.getresponse().read().decode().split("\n"):
        if line.startswith("slipway_loop_seconds_total{"):
            name, value = line.rsplit(" ", 1)
            metrics[name.split('"')[1]] = float(value)
    return {
        "metrics": metrics, "server": cpu_of(slipway.process.pid), "database": slipway.database_cpu(),
        "flushes": int(slipway.sql("SELECT wal_sync FROM pg_stat_wal"))}


def direct_model(port, steps):
    """What the model itself takes for a conversation half as long as the task's."""
    messages = [{"role": "user", "content": PROMPT}]
    for turn in range(steps // 2):
        messages.append({"role": "assistant", "content": [
            {"type": "text", "text": f"Step {turn}."},
            {"type": "tool_use", "id": f"t{turn}", "name": "execute", "input": {"command": f"true {turn}"}}]})
        messages.append({"role": "user", "content": [
            {"type": "tool_result", "tool_use_id": f"t{turn}", "content": "[exit code 0, 0.0 s]\n(no output)"}]})
    body = json.dumps({"model": "demo-scripted", "max_tokens": 1000, "stream": True, "messages": messages})
    connection = http.client.HTTPConnection(f"127.0.0.1:{port}", timeout=60)
    times = []
    for _ in range(50):
        begin = time.perf_counter()
        connection.request("POST", "/v1/messages", body, {
            "content-type": "application/json", "x-api-key": "sk-bench-0123456789", "anthropic-version": "2023-06-01"})
        answer = connection.getresponse()
        data = answer.read()
        times.append((time.perf_counter() - begin) * 1000)
        if answer.status != 200:
            raise SystemExit(f"bench: the model answered {answer.status}: {data[:300]!r}")
    return times

"""Times every list of the record, with every filter, on a million calls. A list that takes 100 ms or more at its median fails the run."""
import itertools
import os
import subprocess
import sys
import time
import urllib.parse

from workspaces import Client, percentile

HERE = os.path.dirname(os.path.abspath(__file__))
BOUND = 100
CALLS = "/api/v2/ai-gateway/interceptions"
SESSIONS = "/api/v2/ai-gateway/sessions"
SPEND = "/api/v2/ai-gateway/spend?user=all&by="
FILTERS = {
    "user": {"initiator": "user4100"}, "model": {"model": "model-3"}, "rare model": {"model": "rare-model"}, "no model": {"model": "none"},
    "provider": {"provider_name": "openai"}, "rare provider": {"provider_name": "rare-provider"}, "client": {"client": "Codex"},
    "rare client": {"client": "rare-client"}, "tool": {"tool": "Bash"}, "rare tool": {"tool": "rare_tool"}, "text": {"text": "parser"},
    "rare text": {"text": "pomegranate"}, "two words": {"text": "module 77"}, "policy": {"policy": "policy:3"}, "refused": {"decision": "refused"},
    "rule": {"policy": "policy:deny-dear"}, "session": {"session_id": "session-40001"}, "dear": {"min_cost_nano_dollars": "1000000000"},
    "cheap": {"max_cost_nano_dollars": "5000000"}, "a day": {"started_after": "DAY", "started_before": "NEXT"},
}


def fill(slipway):
    began = time.time()
    environment = dict(os.environ, PGPASSWORD=slipway.database_password)
    subprocess.run(["psql", "-h", slipway.socket, "-U", "slipway", "-d", "postgres", "-q", "-v", "ON_ERROR_STOP=1", "-f", f"{HERE}/record.sql"],
                   env=environment, check=True)
    count = slipway.sql("SELECT count(*) FROM ai_interceptions")
    print(f"\nfilled {count} calls in {time.time() - began:.0f} s; waiting for the sums of spend", flush=True)
    while slipway.sql("SELECT coalesce(sum(calls), 0) = (SELECT count(*) FROM ai_ledger) FROM ai_spend") != "t":
        time.sleep(1)


def measure_record(slipway, rounds=7):
    fill(slipway)
    # One's own reading of others' content is a fact each: that is in the figures.
    client = Client(slipway)
    day = time.strftime("%Y-%m-%dT00:00:00Z", time.gmtime(time.time() - 15 * 86400))
    following = time.strftime("%Y-%m-%dT00:00:00Z", time.gmtime(time.time() - 14 * 86400))

    def query(*filters):
        values = {key: value.replace("DAY", day).replace("NEXT", following) for part in filters for key, value in part.items()}
        return "?" + urllib.parse.urlencode(values) if values else ""

    paths = {"calls": CALLS, "sessions": SESSIONS, "facts": "/api/v2/audit/facts", "facts by kind": "/api/v2/audit/facts?kind=content",
             "entries": "/api/v2/audit/entries", "usage of a month": "/api/v2/ai-gateway/usage?user=all"}
    for name, part in FILTERS.items():
        paths[f"calls: {name}"] = CALLS + query(part)
        paths[f"sessions: {name}"] = SESSIONS + query(part)
    for (one, a), (two, b) in itertools.combinations(FILTERS.items(), 2):
        if not set(a) & set(b):
            paths[f"calls: {one} + {two}"] = CALLS + query(a, b)
    for by in ("user", "model", "client", "task", "day", "user,model,day", "user,provider,model,client,task,day"):
        paths[f"spend by {by}"] = SPEND + by + "&from=2020-01-01"
    slow, worst = [], 0.0
    for name, path in paths.items():
        times = []
        for _ in range(rounds):
            times.append(client.call("GET", path.removeprefix("/api/v2"))[1])
        median = percentile(times, 0.5)
        worst = max(worst, median)
        # Combinations only where they are remarkable.
        if "+" not in name or median >= BOUND / 2:
            print(f"{name:45} median {median:7.1f} ms, slowest {max(times):7.1f} ms", flush=True)
        if median >= BOUND:
            slow.append(name)
    print(f"{len(paths)} lists, the slowest {worst:.1f} ms")
    if slow:
        sys.exit(f"bench: FAILED: {len(slow)} lists take {BOUND} ms or more: {', '.join(slow)}")

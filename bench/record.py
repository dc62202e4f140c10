"""Times every list of the record, with every filter, and the exports, on a million calls. A list that takes 100 ms or more fails the run."""
import itertools
import os
import subprocess
import sys
import time
import urllib.parse

from harness import resident_kib
from workspaces import Client, percentile

HERE = os.path.dirname(os.path.abspath(__file__))
BOUND = 100
CALLS = "/api/v2/ai-gateway/interceptions"
SESSIONS = "/api/v2/ai-gateway/sessions"
SPEND = "/api/v2/ai-gateway/spend?user=all&by="
FILTERS = {
    "user": {"initiator": "user4100"}, "group": {"group": "platform"}, "small group": {"group": "pair"}, "empty group": {"group": "nobody"}, "model": {"model": "model-3"}, "rare model": {"model": "rare-model"}, "no model": {"model": "none"},
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


def measure_pages(client, query, pages=20):
    """Later pages cost what the first did. The names of the lists whose slowest page is too slow."""
    slow = []
    for name, path in (("calls", CALLS), ("sessions", SESSIONS), ("calls: tool", CALLS + query(FILTERS["tool"])), ("sessions: text", SESSIONS + query(FILTERS["text"]))):
        after, times = None, []
        for _ in range(pages):
            place = path + ("&" if "?" in path else "?") + "limit=100" + (f"&after={after}" if after else "")
            page, took = client.call("GET", place.removeprefix("/api/v2"))
            times.append(took)
            after = page.get("after")
            if not after:
                break
        print(f"{name}, {len(times)} pages of 100: median {percentile(times, 0.5):.1f} ms, slowest {max(times):.1f} ms", flush=True)
        if percentile(times, 0.5) >= BOUND:
            slow.append(f"pages of {name}")
    return slow


def measure_exports(slipway, client, day):
    """Files are as long as what is in them; what counts is that they come at once, as a stream, and cost the server no memory."""
    for name, path in (("calls of a day", CALLS + day + "&format=csv"), ("sessions of a day", SESSIONS + day + "&format=csv"),
                       ("all calls", CALLS + "?format=csv"), ("all sessions", SESSIONS + "?format=csv"),
                       ("spend of all time", SPEND + "group,user,model,task,day&from=2020-01-01&format=csv"),
                       ("spend of all time, FOCUS", SPEND + "user&from=2020-01-01&format=focus")):
        before = resident_kib(slipway.process.pid)
        first, took, lines, most = client.read(path, lambda: resident_kib(slipway.process.pid))
        print(f"{name:28} {lines:>8} lines in {took:6.1f} s, the first byte after {first:7.1f} ms, memory {(most - before) / 1024:+.0f} MiB", flush=True)


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
    for by in ("user", "group", "model", "client", "group,user,model", "task", "day", "user,model,day", "user,provider,model,client,task,day"):
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
    print(f"{len(paths)} lists, the slowest {worst:.1f} ms", flush=True)
    slow += measure_pages(client, query)
    measure_exports(slipway, client, query({"started_after": "DAY", "started_before": "NEXT"}))
    if slow:
        sys.exit(f"bench: FAILED: {len(slow)} lists take {BOUND} ms or more: {', '.join(slow)}")

"""Calls of models: plain and streamed, at once and after a while, with long prompts; and thousands of streams at a time."""
import json
import os
import subprocess
import time

from harness import HERE, PORTS, SECONDS, WORK, leave, numbers, run, say, start, write

PATHS = {"messages": "/v1/messages", "chat": "/v1/chat/completions"}
SENTENCE = "Write one sentence about the sea, please, and keep it short."
EVENTS, PAUSE_MS = 20, 500


def prepare():
    """The upstreams: one that answers at once, one after 20 ms, one that says a word every half second."""
    for program in ("upstream", "load"):
        run("cc", "-O2", "-o", f"{WORK}/{program}", f"{HERE}/{program}.c")
    start(f"{WORK}/upstream", PORTS["upstream"])
    start(f"{WORK}/upstream", PORTS["waiting"], 20)
    start(f"{WORK}/upstream", PORTS["paced"], 20, PAUSE_MS, EVENTS)


def body(kind, streamed, target, size=0):
    """The file of a request; with a prompt of at least `size` bytes."""
    path = os.path.join(WORK, f"{kind}-{streamed}-{target.model}-{size}.json")
    if os.path.exists(path):
        return path
    text = SENTENCE if not size else " ".join(f"{SENTENCE} ({index})" for index in range(1 + size // len(SENTENCE)))[:size]
    request = {"model": target.model, "max_tokens": 100, "messages": [{"role": "user", "content": text}]}
    if streamed:
        request["stream"] = True
        if kind == "chat":
            request["stream_options"] = {"include_usage": True}
    return write(os.path.basename(path), json.dumps(request))


def row(*cells):
    widths = (24, 6, 9, 9, 9, 9, 9, 9, 9, 9, 8)
    say("".join(f"{str(cell):<{width}}" if index in (0, 2) else f"{str(cell):>{width}} " for index, (cell, width) in enumerate(zip(cells, widths))))


def compare(slipway, proxies, title, kind, streamed, suffix, concurrency, size=0, seconds=SECONDS):
    """One cell for each program, one after the other. How many answers of Slipway were counted."""
    answered = 0
    targets = proxies.targets(suffix, PATHS[kind]) + [slipway.target(kind, suffix, PATHS[kind])]
    for target in targets:
        # Connections are made, code is loaded: LiteLLM's first answers take seconds.
        warmed = target.load(body(kind, streamed, target, size), 4, 5 if target.name == "litellm" else 0.5)
        answered += warmed["n"] if target.name == "slipway" else 0
    for connections in concurrency:
        direct, rates = {}, {}
        for target in targets:
            figures = target.load(body(kind, streamed, target, size), connections, seconds)
            direct = direct or figures
            rates[target.name] = figures["rps"]
            if target.name == "slipway":
                answered += figures["n"]
            # Everything is in the line that a table needs; what is added is against the upstream without anybody between.
            added = [f"{figures[name] - direct[name]:+.2f}" if target.roots else f"{figures[name]:.2f}" for name in ("p50", "p99")]
            if not figures["n"]:
                added = ["none", "ended"]
            ratios = [f"{figures['rps'] / rates[name]:.2f}" if rates.get(name) else "" for name in ("caddy", "litellm")]
            row(title, connections, target.name, f"{figures['rps']:.0f}", *added, f"{figures['cpu_us']:.0f}" if target.roots else "",
                f"{figures['db_us']:.0f}" if target.postgres else "", *ratios, figures["errors"])
            if figures["note"]:
                say("  " + figures["note"])
            if target.name == "slipway" and figures["errors"]:
                leave(f"FAILED: {figures['errors']} calls through Slipway went wrong: {figures['note']}")
    return answered


def head(what):
    say(f"\n{what}")
    row("what", "conc", "through", "req/s", "p50 ms", "p99 ms", "CPU µs", "DB µs", "/caddy", "/litellm", "errors")


def measure_calls(slipway, proxies):
    head("calls of an upstream that answers at once; p50 and p99 are what is added to the direct call's, which stands first")
    concurrency = numbers("CONNECTIONS", "1,32,256")
    return sum(
        compare(slipway, proxies, f"{kind}{f', {EVENTS} events' if streamed else ''}", kind, streamed, "", concurrency)
        for kind in PATHS for streamed in (False, True))


def measure_latency(slipway, proxies):
    head("calls of an upstream that answers after 20 ms: what is added")
    concurrency = numbers("CONNECTIONS", "1,32,256")
    return sum(
        compare(slipway, proxies, f"chat{f', {EVENTS} events' if streamed else ''}", "chat", streamed, "waiting", concurrency)
        for streamed in (False, True))


def measure_prompts(slipway, proxies):
    head("long prompts, recorded in full")
    answered = 0
    for size, name, connections in ((100 << 10, "100 KB", 32), (5 << 20, "5 MB", 4)):
        for kind in PATHS:
            answered += compare(slipway, proxies, f"{kind}, prompt of {name}", kind, False, "", [connections], size, max(4, float(SECONDS)))
    return answered


def measure_streams(slipway, proxies):
    """All at once: a stall is a silence of more than the upstream's pauses."""
    answered = 0
    for count in numbers("STREAMS", "1000,5000,9000"):
        say(f"\n{count} streams at once: {EVENTS} events each, one in {PAUSE_MS} ms")
        for target in proxies.targets("paced", PATHS["chat"]) + [slipway.target("chat", "paced", PATHS["chat"])]:
            answered += stream(target, count)
    return answered


def stream(target, count):
    idle = target.own_kib()
    # Ten seconds by themselves; LiteLLM takes minutes for what others do at once, and is not waited for that long.
    command = target.command(body("chat", True, target), count, 60, once=True)
    child = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    most = idle
    time.sleep(3)
    while child.poll() is None:
        most = max(most, target.own_kib())
        time.sleep(1)
    out, err = child.communicate()
    figures = {"n": 0, "errors": count, "unfinished": count, "stall": 0.0, "first99": 0.0, **json.loads(out or "{}")}
    memory = f"{(most - idle) / count:6.1f} KiB a stream, " if target.roots else ""
    say(f"  {target.name:<8} finished {figures['n']:>5}, errors {figures['errors']}, unfinished {figures['unfinished']}, {memory}"
        f"first byte p99 {figures['first99']:.0f} ms, longest silence {figures['stall']:.0f} ms {err.strip()}")
    if target.name == "slipway" and (figures["n"] != count or figures["stall"] > 10 * PAUSE_MS):
        leave(f"FAILED: {count} streams through Slipway did not all end, or one was silent for more than {10 * PAUSE_MS} ms")
    return figures["n"] if target.name == "slipway" else 0

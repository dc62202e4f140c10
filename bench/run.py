#!/usr/bin/env python3
"""Measures the gateway side by side with other proxies on one upstream, then streams, long prompts, workspaces and the loop.

    make bench                                  the whole run, about an hour
    make bench BENCH=calls                      one part, a few minutes: calls, latency, streams, prompts, sandbox, loop, or
                                                record (a server of its own, filled with a million calls)
    SECONDS_PER_CELL=1 CONNECTIONS=32 STREAMS=1000 PROXIES=nginx,caddy make bench BENCH=calls,streams

CPU microseconds per request and ratios are what can be trusted on a shared machine; times are upper bounds. The run refuses to start
unless the database is durable (fsync, full_page_writes, synchronous_commit on) and fails unless afterwards every answer has its
interception with its content and its ledger row, nothing is held, the budget agrees with the ledger, and the audit chain verifies.
"""
import os
import signal
import sys
import time

import gateway
import harness
import record
import workspaces
from proxies import Proxies
from server import BIN, Slipway

COMPARED = {"calls": gateway.measure_calls, "latency": gateway.measure_latency, "prompts": gateway.measure_prompts,
            "streams": gateway.measure_streams}
PARTS = [*COMPARED, "sandbox", "loop", "record"]


def wanted_parts():
    words = sys.argv[1].split(",") if len(sys.argv) > 1 and sys.argv[1] != "all" else PARTS
    # What the calls were called once.
    words = [part for word in words for part in (("calls", "latency") if word == "gateway" else (word,))]
    for word in words:
        if word not in PARTS:
            harness.leave(f"there is no part '{word}': they are {', '.join(PARTS)}")
    return words


def measure(parts):
    if set(parts) - {"record"}:
        gateway.prepare()
        names = os.environ.get("PROXIES", "nginx,caddy,litellm").split(",") if set(parts) & set(COMPARED) else []
        proxies, slipway, answered = Proxies(names), Slipway(), 0
        for part in parts:
            if part in COMPARED:
                answered += COMPARED[part](slipway, proxies)
            elif part == "sandbox":
                workspaces.measure_sandbox(slipway)
            elif part == "loop":
                answered += workspaces.measure_loop(slipway, harness.WORK, harness.start, BIN, harness.PORTS["model"], harness.wait_for)
        slipway.verify(answered)
        slipway.process.send_signal(signal.SIGTERM)
        slipway.process.wait(60)
    if "record" in parts:
        harness.say("")
        record.measure_record(Slipway(os.path.join(harness.WORK, "record")))


def main():
    parts = wanted_parts()
    harness.say(f"Slipway bench on {os.uname().release}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}, "
                f"{time.strftime('%Y-%m-%d %H:%M')} UTC, {harness.NOFILE} descriptors")
    try:
        measure(parts)
    finally:
        harness.stop_all()


if __name__ == "__main__":
    main()

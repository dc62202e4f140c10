"""The server under measurement, as an operator would have it, and the checks without which its figures would say nothing."""
import os
import re
import time

from harness import PORTS, WORK, Target, leave, processes, run, say, start, tree, wait_for

# The server refuses variables that it does not know.
BIN = os.environ.pop("SLIPWAY_BIN", None) or leave("run this as 'make bench'")
PREFIX = os.environ.get("GATEWAY_PREFIX", "/v1")


class Slipway:
    """The server on an embedded and durable database, with policy, budget, content recording and audit on."""

    def __init__(self, data=os.path.join(WORK, "data")):
        self.data = data
        self.url = f"http://127.0.0.1:{PORTS['slipway']}"
        self.process = start(f"{BIN}/slipway-server", "--data-dir", self.data, "--listen", f"127.0.0.1:{PORTS['slipway']}")
        wait_for(PORTS["slipway"], "/readyz")
        code = None
        deadline = time.time() + 30
        while not code and time.time() < deadline:
            code = re.search(r"set-up code\s+([A-Za-z0-9-]{8,})", open(self.process.log).read())
            time.sleep(0.05)
        self.environment = dict(os.environ, SLIPWAY_CONFIG_DIR=f"{data}-config", SLIPWAY_URL=self.url)
        self.environment.pop("SLIPWAY_TOKEN", None)
        password = os.urandom(12).hex()
        self.cli("login", self.url, "--first-user", "--setup-code", code.group(1), "--username", "bench", "--email", "bench@example.com",
                 "--password-stdin", input=password + "\n")
        for suffix in ("", "waiting", "paced"):
            for name, kind, path in (("messages", "anthropic", ""), ("chat", "openai", "/v1")):
                base = f"http://127.0.0.1:{PORTS[suffix or 'upstream']}{path}"
                self.cli("providers", "add", name + suffix, "--type", kind, "--base-url", base, "--key-stdin", "--allow-private",
                         input="sk-bench-0123456789\n")
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
                leave(f"refused: {setting} is off, so the figures would say nothing")

    def cli(self, *arguments, **more):
        return run(f"{BIN}/slipway", *arguments, env=self.environment, **more).stdout

    def sql(self, query):
        environment = dict(os.environ, PGPASSWORD=self.database_password)
        return run("psql", "-h", self.socket, "-U", "slipway", "-d", "postgres", "-Atqc", query, env=environment).stdout.strip()

    def database_cpu(self):
        found = processes()
        return sum(found[pid][2] for pid in tree(self.postgres, found))

    def target(self, kind, suffix, path):
        return Target("slipway", PORTS["slipway"], [self.process.pid], f"/api/v2/ai-gateway/{kind}{suffix}{PREFIX}{path.removeprefix('/v1')}",
                      [f"Authorization: Bearer {self.token}"], self.postgres)

    def verify(self, answered):
        """The honesty checks: what was answered is on record with its content, paid and provable, and nothing is held."""
        missing = ("SELECT count(*) FROM ai_interceptions i WHERE status = 'completed' AND 2 <> (SELECT count(*) FROM ai_contents c "
                   "WHERE c.interception_id = i.id AND c.state = 'complete')")
        deadline = time.time() + 120
        # Calls are booked within milliseconds; content is written behind them.
        while time.time() < deadline and (self.sql("SELECT count(*) FROM ai_holds") != "0" or self.sql(missing) != "0"):
            time.sleep(0.5)
        counts = {name: int(self.sql(query)) for name, query in (
            ("interceptions", "SELECT count(*) FROM ai_interceptions WHERE status <> 'refused'"),
            ("completed", "SELECT count(*) FROM ai_interceptions WHERE status = 'completed'"),
            ("without content", missing),
            ("ledger rows", "SELECT count(*) FROM ai_ledger"),
            ("held", "SELECT coalesce(sum(held), 0) FROM ai_budgets"),
            ("spent", "SELECT coalesce(sum(spent), 0) FROM ai_budgets"),
            ("ledger cost", "SELECT coalesce(sum(cost), 0) FROM ai_ledger"))}
        verified = run(f"{BIN}/slipway", "audit", "verify", env=self.environment, check=False)
        say(f"\nanswered {answered}, on record {counts}, audit: {verified.stdout.strip()}")
        problems = []
        # A connection that the load closes at its end leaves a call that nobody counted: those are on record as left or completed.
        if counts["completed"] < answered:
            problems.append("answers are missing from the record")
        if counts["without content"] != 0:
            problems.append("the content of calls is missing")
        if counts["interceptions"] != counts["ledger rows"]:
            problems.append("interceptions and ledger rows differ")
        if counts["held"] != 0 or counts["spent"] != counts["ledger cost"]:
            problems.append("the budget does not agree with the ledger")
        if verified.returncode != 0:
            problems.append("the audit chain does not verify")
        if problems:
            leave("FAILED: " + "; ".join(problems))

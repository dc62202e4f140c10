"""What the parts of the bench share: programs that are started and ended, their CPU and memory, and the load."""
import json
import os
import re
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request

HERE = os.path.dirname(os.path.abspath(__file__))
SECONDS = os.environ.get("SECONDS_PER_CELL", "4")
TICK = os.sysconf("SC_CLK_TCK")
WORK = tempfile.mkdtemp(prefix="slipway-bench.")
os.chmod(WORK, 0o711)
# Moved as a block where somebody else has them.
BASE = int(os.environ.get("BENCH_PORT", "18170"))
NAMES = ("upstream", "waiting", "paced", "nginx", "nginxwaiting", "nginxpaced", "caddy", "caddywaiting", "caddypaced", "litellm",
         "slipway", "model")
PORTS = {name: BASE + offset for offset, name in enumerate(NAMES)}
children = []


def raise_limits():
    """Thousands of streams are thousands of descriptors, in every program that is started here."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    return most


NOFILE = raise_limits()


def numbers(variable, usual):
    """A list of numbers from the environment, e.g. STREAMS=1000,5000."""
    return [int(word) for word in os.environ.get(variable, usual).split(",") if word]


def run(*command, check=True, **more):
    result = subprocess.run([str(c) for c in command], capture_output=True, text=True, **more)
    if check and result.returncode != 0:
        raise SystemExit(f"bench: {' '.join(map(str, command))} failed ({result.returncode}):\n{result.stdout}{result.stderr}")
    return result


def start(*command, **more):
    log = open(os.path.join(WORK, os.path.basename(str(command[0])) + f".{len(children)}.log"), "w")
    child = subprocess.Popen([str(c) for c in command], stdout=log, stderr=subprocess.STDOUT, **more)
    child.log = log.name
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


def resident_kib(pid):
    try:
        return int(re.search(r"^Pss:\s+(\d+)", open(f"/proc/{pid}/smaps_rollup").read(), re.M).group(1))
    except (OSError, AttributeError):
        return 0


def answers(port, path="/", seconds=60):
    """Whether something does, within so many seconds."""
    deadline = time.time() + seconds
    while time.time() < deadline:
        try:
            urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=5)
            return True
        except urllib.error.HTTPError:
            return True
        except OSError:
            time.sleep(0.05)
    return False


def wait_for(port, path="/", seconds=60):
    if not answers(port, path, seconds):
        raise SystemExit(f"bench: nothing answers on port {port}; logs are in {WORK}")


def write(name, text):
    path = os.path.join(WORK, name)
    with open(path, "w") as file:
        file.write(text)
    return path


class Target:
    """A way to the upstream: its port, the path there, and the processes that it costs."""

    def __init__(self, name, port, roots, path, headers=(), postgres=None, model="bench-model"):
        self.name, self.port, self.roots, self.path, self.headers, self.postgres = name, port, roots, path, list(headers), postgres
        self.model = model

    def command(self, body, connections, seconds, once=False):
        return [str(word) for word in (os.path.join(WORK, "load"), *(["-1"] if once else []), self.port, self.path, connections, seconds,
                                       body, *self.headers)]

    def load(self, body, connections, seconds=SECONDS):
        before = cpu(self.roots, self.postgres)
        result = run(*self.command(body, connections, seconds), check=False)
        after = cpu(self.roots, self.postgres)
        if not result.stdout.strip():
            raise SystemExit(f"bench: no answer from {self.name}: {result.stderr}")
        figures = {"p50": 0.0, "p99": 0.0, **json.loads(result.stdout)}
        figures["note"] = result.stderr.strip()
        answered = max(1, figures["n"])
        figures["cpu_us"] = (after[0] - before[0]) * 1e6 / answered
        figures["db_us"] = (after[1] - before[1]) * 1e6 / answered
        return figures

    def own_kib(self):
        """Memory of its processes without the database, shared pages by their share."""
        found = processes()
        database = tree(self.postgres, found) if self.postgres else set()
        return sum(resident_kib(pid) for pid in set().union(*(tree(root, found) for root in self.roots)) - database)


def say(text):
    print(text, flush=True)


def leave(text):
    sys.exit(f"bench: {text}")

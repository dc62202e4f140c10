"""What Slipway is compared with: nginx and Caddy as plain proxies, and the LiteLLM proxy, which is a gateway too."""
import json
import os
import shutil
import subprocess

from harness import HERE, NOFILE, PORTS, WORK, Target, answers, run, say, start, wait_for, write

UPSTREAMS = ("", "waiting", "paced")
KEY = "sk-bench-0123456789"
# Kept between runs; never in the repository.
CACHE = os.environ.pop("BENCH_CACHE", None) or os.path.join(os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache"), "slipway-bench")


class Proxies:
    """All programs that stand between load and upstream, beside Slipway. `wanted`: their names."""

    def __init__(self, wanted):
        self.children = {}
        if "nginx" in wanted:
            self.start_nginx()
        if "caddy" in wanted:
            self.start_caddy()
        if "litellm" in wanted:
            self.start_litellm()

    def targets(self, suffix, path):
        """Those that run, in front of the upstream of this suffix."""
        found = [Target("direct", PORTS[suffix or "upstream"], [], path)]
        for name in ("nginx", "caddy"):
            if child := self.children.get(name + suffix):
                found.append(Target(name, PORTS[name + suffix], [child.pid], path))
        if child := self.children.get("litellm"):
            # One program for all upstreams: which one is the name of its model.
            kind = "messages" if "messages" in path else "chat"
            found.append(Target("litellm", PORTS["litellm"], [child.pid], path, [f"Authorization: Bearer {KEY}"], model=kind + suffix))
        return found

    def start_nginx(self):
        program = shutil.which("nginx") or "/usr/sbin/nginx"
        for suffix in UPSTREAMS:
            folder = f"{WORK}/nginx{suffix}"
            os.makedirs(folder, exist_ok=True)
            text = open(f"{HERE}/nginx.conf").read()
            for word, value in (("NOFILE", NOFILE), ("UPSTREAM", PORTS[suffix or "upstream"]), ("PORT", PORTS["nginx" + suffix]), ("WORK", folder)):
                text = text.replace(word, str(value))
            self.children["nginx" + suffix] = start(program, "-c", write(f"nginx{suffix}.conf", text))
            wait_for(PORTS["nginx" + suffix])

    def start_caddy(self):
        for suffix in UPSTREAMS:
            environment = dict(os.environ, PORT=str(PORTS["caddy" + suffix]), UPSTREAM=str(PORTS[suffix or "upstream"]), HOME=WORK)
            self.children["caddy" + suffix] = start("caddy", "run", "--config", f"{HERE}/Caddyfile", "--adapter", "caddyfile", env=environment)
            wait_for(PORTS["caddy" + suffix])

    def start_litellm(self):
        program = installed_litellm()
        if not program:
            return
        # Its map of prices from its own files: nothing is fetched while it is measured.
        environment = dict(os.environ, HOME=WORK, LITELLM_LOCAL_MODEL_COST_MAP="True", LITELLM_MODE="PRODUCTION", LITELLM_LOG="ERROR")
        models = []
        for suffix in UPSTREAMS:
            base = f"http://127.0.0.1:{PORTS[suffix or 'upstream']}"
            for kind, name, path in (("messages", "anthropic", ""), ("chat", "openai", "/v1")):
                models.append({"model_name": kind + suffix,
                               "litellm_params": {"model": f"{name}/bench-model", "api_base": base + path, "api_key": KEY}})
        settings = {"model_list": models, "litellm_settings": {"telemetry": False}, "general_settings": {"master_key": KEY}}
        # JSON is YAML.
        child = start(program, "--config", write("litellm.yaml", json.dumps(settings)), "--host", "127.0.0.1", "--port", PORTS["litellm"],
                      "--num_workers", os.cpu_count(), env=environment)
        if answers(PORTS["litellm"], "/health/liveliness", 300):
            self.children["litellm"] = child
        else:
            say("bench: LiteLLM is left out: it does not answer; its log ends with\n" + open(child.log).read()[-500:])
            child.terminate()


def installed_litellm():
    """The program in an environment of its own, made when it is missing. None, with a line that says why, where that is not possible."""
    folder = os.path.join(CACHE, "litellm")
    program = os.path.join(folder, "bin", "litellm")
    if not os.path.exists(os.path.join(folder, "complete")):
        say(f"bench: installing the LiteLLM proxy into {folder}, once")
        shutil.rmtree(folder, ignore_errors=True)
        try:
            made = run("python3", "-m", "venv", folder, check=False)
            if made.returncode == 0:
                made = run(os.path.join(folder, "bin", "pip"), "install", "--quiet", "--disable-pip-version-check", "--retries", "1",
                           "--timeout", "20", "litellm[proxy]", check=False, timeout=900)
        except (OSError, subprocess.TimeoutExpired) as error:
            say(f"bench: LiteLLM is left out: {error}")
            return None
        if made.returncode != 0:
            reason = (made.stderr.strip() or made.stdout.strip()).split("\n")[-1]
            say(f"bench: LiteLLM is left out: pip cannot install it here ({reason[:200]})")
            return None
        open(os.path.join(folder, "complete"), "w").close()
    version = run(os.path.join(folder, "bin", "python"), "-c", "import importlib.metadata as m; print(m.version('litellm'))").stdout.strip()
    say(f"LiteLLM {version}, {os.cpu_count()} workers")
    return program

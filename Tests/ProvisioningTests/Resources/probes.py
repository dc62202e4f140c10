"""Ways out of a sandbox, tried as its workload. Run as `python3 -I -c THIS FACTS`, FACTS being JSON about the host.

One line of JSON per probe: {"name", "blocked", "how"}. A probe tries several doors; it is blocked when each of them ended in an
error, or when what it was after was not there. Outside a sandbox most of these succeed: that is the control.
"""
import ctypes, errno, fcntl, json, os, platform, resource, signal, socket, stat, struct, subprocess, sys, time

FACTS = json.loads(sys.argv[1])
ONLY = FACTS.get("only")
ARM = platform.machine() == "aarch64"
LIBC = ctypes.CDLL(None, use_errno=True)
CALLS = {  # x86_64, aarch64
    "ptrace": (101, 117), "mount": (165, 40), "umount2": (166, 39), "pivot_root": (155, 41), "chroot": (161, 51), "setns": (308, 268),
    "unshare": (272, 97), "clone": (56, 220), "keyctl": (250, 219), "add_key": (248, 217), "request_key": (249, 218),
    "syslog": (103, 116), "perf_event_open": (298, 241), "bpf": (321, 280), "userfaultfd": (323, 282), "io_uring_setup": (425, 425),
    "quotactl_fd": (443, 443), "name_to_handle_at": (303, 264), "open_by_handle_at": (304, 265), "init_module": (175, 105),
    "finit_module": (313, 273), "kexec_load": (246, 104), "reboot": (169, 142), "ioctl": (16, 29), "clone3": (435, 435),
    "pidfd_open": (434, 434), "open_tree": (428, 428), "fsopen": (430, 430), "mount_setattr": (442, 442), "getpid": (39, 172),
}
PROBES = []


class Blocked(Exception):
    pass


def probe(function):
    PROBES.append(function)
    return function


def call(name, *arguments):
    number = name if isinstance(name, int) else CALLS[name][ARM]
    values = [ctypes.c_long(a) if isinstance(a, int) else a for a in arguments]
    result = LIBC.syscall(ctypes.c_long(number), *values)
    if result < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return result


def name_of(error):
    return errno.errorcode.get(error.errno, str(error))


def doors(*tries):
    """Each must end in an error; the first that does not is the way out."""
    ends = set()
    for attempt in tries:
        try:
            found = attempt()
        except OSError as error:
            ends.add(name_of(error))
        else:
            return f"door {tries.index(attempt)} is open: {found!r}"
    raise Blocked(",".join(sorted(ends)))


def reading(path):
    def read():
        with open(path, "rb") as file:
            return file.read(64)
    return read


def writing(path, data=b"x"):
    def write():
        descriptor = os.open(path, os.O_WRONLY)
        try:
            return os.write(descriptor, data)
        finally:
            os.close(descriptor)
    return write


def making(directory):
    def make():
        path = f"{directory}/slipway-probe"
        open(path, "w").close()
        os.unlink(path)
        return path
    return make


def nothing_in(found, why="nothing there"):
    if not found:
        raise Blocked(why)
    return found


def other_processes():
    return [p for p in os.listdir("/proc") if p.isdigit() and int(p) not in (1, os.getpid(), os.getppid())]


# ---- what was left lying about

@probe
def leaked_descriptors():
    # 3 … are ours to find; the pipe of this script's harness is the one exception
    mine = {int(x) for x in os.listdir("/proc/self/fd")} - {0, 1, 2, REPORT}
    open_ones = {}
    for descriptor in mine:
        try:
            open_ones[descriptor] = os.readlink(f"/proc/self/fd/{descriptor}")
        except OSError:
            pass  # the listing's own
    return nothing_in({d: t for d, t in open_ones.items() if not t.startswith(f"/proc/")}, "(none)")


@probe
def read_agent_token():
    roots = [f"/proc/{p}/root/run/slipway/token" for p in ["1", *other_processes()]]
    return doors(reading("/run/slipway/token"), reading("/run/slipway/agent/journal"), *[reading(path) for path in roots])


@probe
def write_agent_journal():
    return doors(lambda: open("/run/slipway/agent/journal", "a"), making("/run/slipway"), making("/run/slipway/agent"))


@probe
def see_agent_or_host_processes():
    seen = []
    for p in ["1", *other_processes()]:
        try:
            line = open(f"/proc/{p}/cmdline", "rb").read()
        except OSError:
            continue
        if b"/opt/slipway/agent\0" == line or b"keeper" in line or b"bwrap" in line or b"launcher" in line or b"swift" in line:
            seen.append((p, line))
        if int(p) == FACTS["host_pid"] and b"xctest" in line:
            seen.append((p, line))
    return nothing_in(seen)


@probe
def environ_mem_fd_of_pid1():
    return doors(
        reading("/proc/1/environ"), reading("/proc/1/mem"), lambda: os.listdir("/proc/1/fd"), lambda: os.readlink("/proc/1/exe"),
        reading("/proc/1/maps"))


@probe
def ptrace_pid1():
    return doors(lambda: call("ptrace", 16, 1, 0, 0), lambda: call("ptrace", 0x4206, 1, 0, 0))


@probe
def kill_pid1():
    for number in (signal.SIGTERM, signal.SIGSTOP, signal.SIGKILL):
        try:
            os.kill(1, number)
        except OSError as error:
            raise Blocked(name_of(error))
    state = open("/proc/1/stat").read().rsplit(")", 1)[1].split()[0]
    return nothing_in(state in "TZX", "the zone ignores it")


@probe
def kill_everything_else():
    # numbers of the host mean nothing here
    return doors(lambda: os.kill(FACTS["host_pid"], 0), lambda: call("pidfd_open", FACTS["host_pid"], 0))


# ---- networks

@probe
def tcp_to_host_loopback():
    def connect(address):
        with socket.socket() as s:
            s.settimeout(2)
            s.connect((address, FACTS["tcp_port"]))
            return address
    return doors(lambda: connect("127.0.0.1"), lambda: connect("127.0.1.1"), lambda: connect("0.0.0.0"))


@probe
def metadata_and_internet():
    def connect(address):
        with socket.socket() as s:
            s.settimeout(2)
            s.connect((address, 80))
            return address
    return doors(
        lambda: connect("169.254.169.254"), lambda: connect("192.0.2.1"), lambda: socket.getaddrinfo("example.org", 80),
        other_interfaces)


def other_interfaces():
    found = [name for _, name in socket.if_nameindex() if name != "lo"]
    if not found:
        raise OSError(errno.ENODEV, "only loopback")
    return found


@probe
def abstract_unix_socket_of_host():
    def connect():
        with socket.socket(socket.AF_UNIX) as s:
            s.connect("\0" + FACTS["abstract"])
            return FACTS["abstract"]
    return doors(connect)


@probe
def vsock_packet_alg_raw():
    return doors(
        lambda: socket.socket(40, socket.SOCK_STREAM), lambda: socket.socket(17, socket.SOCK_RAW), lambda: socket.socket(38, 5),
        lambda: socket.socket(socket.AF_INET, socket.SOCK_RAW, 1), lambda: socket.socket(44, socket.SOCK_RAW))


# ---- mounts and files

@probe
def write_read_only_places():
    places = "/usr /usr/bin /etc /opt /opt/slipway / /dev /run /run/slipway /sys /proc /var /home /bin /lib /etc/ssl".split()
    return doors(*[making(p) for p in places], writing("/etc/passwd"), writing("/usr/bin/env"), writing("/opt/slipway/zone"))


@probe
def remount_rw():
    return doors(
        lambda: call("mount", b"none", b"/usr", 0, 0x20 | 0x1000, 0), lambda: call("mount", b"none", b"/", 0, 0x20, 0),
        lambda: call("mount", b"none", b"/opt/slipway", 0, 0x20 | 0x1000, 0))


@probe
def mount_tmpfs_proc_overlay():
    return doors(
        lambda: call("mount", b"t", b"/tmp", b"tmpfs", 0, 0), lambda: call("mount", b"p", b"/tmp", b"proc", 0, 0),
        lambda: call("mount", b"o", b"/tmp", b"overlay", 0, b"lowerdir=/usr:/etc"), lambda: call("fsopen", b"tmpfs", 0),
        lambda: call("open_tree", -100, b"/", 1), lambda: call("mount_setattr", -100, b"/", 0, b"", 32),
        lambda: call("umount2", b"/run/slipway", 2))


@probe
def new_user_namespace():
    def clone(flags):
        child = call("clone", flags | signal.SIGCHLD, 0, 0, 0, 0)
        if child == 0:
            os._exit(0)
        os.waitpid(child, 0)
        return child

    def clone3():
        arguments = struct.pack("<11Q", 0x10000000, 0, 0, 0, signal.SIGCHLD, 0, 0, 0, 0, 0, 0)
        child = call("clone3", ctypes.c_char_p(arguments), 88)
        if child == 0:
            os._exit(0)
        os.waitpid(child, 0)
        return child
    return doors(
        lambda: call("unshare", 0x10000000), lambda: call("unshare", 0x20000), lambda: call("unshare", 0x80),
        lambda: clone(0x10000000), lambda: clone(0x20000), clone3)


@probe
def setns_pivot_chroot():
    return doors(
        lambda: call("setns", os.open("/proc/1/ns/net", 0), 0), lambda: call("pivot_root", b"/tmp", b"/tmp"),
        lambda: call("chroot", b"/tmp"))


@probe
def setns_own():
    return doors(lambda: call("setns", os.open("/proc/self/ns/mnt", 0), 0), lambda: call("setns", os.open("/proc/self/ns/user", 0), 0))


@probe
def device_nodes():
    return doors(
        lambda: os.mknod("/tmp/disk", stat.S_IFBLK | 0o600, os.makedev(254, 0)),
        lambda: os.mknod("/home/work/mem", stat.S_IFCHR | 0o600, os.makedev(1, 1)),
        *[reading(f"/dev/{d}") for d in ("vda", "sda", "nvme0n1", "mem", "kmsg", "kvm", "fuse", "net/tun", "loop0")])


@probe
def setuid_program():
    for command in (["su", "-c", "id -u"], ["newuidmap", str(os.getpid()), "0", "0", "1"], ["sudo", "-n", "id"], ["mount", "/tmp"]):
        try:
            done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=20)
        except (OSError, subprocess.TimeoutExpired):
            continue
        if done.returncode == 0:
            return command
    subprocess.run("cp /usr/bin/id /tmp/i && chmod 6755 /tmp/i", shell=True)
    uid = subprocess.run(["/tmp/i", "-u"], capture_output=True, text=True).stdout.strip()
    status = open("/proc/self/status").read()
    return nothing_in(uid == "0" or "NoNewPrivs:\t1" not in status, "no_new_privs, nosuid")


@probe
def become_other_uid():
    return doors(
        lambda: os.setuid(0), lambda: os.setuid(999), lambda: os.setgid(999), lambda: os.setgroups([0, 5]),
        lambda: os.setresuid(FACTS["agent_uid"], -1, -1))


@probe
def give_file_away():
    open("/home/work/own", "w").close()
    return doors(lambda: os.chown("/home/work/own", 0, -1), lambda: os.chown("/home/work/own", 999, -1))


# ---- the kernel

@probe
def keyrings():
    return doors(
        lambda: call("keyctl", 0, -3, 1), lambda: call("add_key", b"user", b"k", b"v", 1, -3),
        lambda: call("request_key", b"user", b"k", 0, 0))


@probe
def dmesg_kmsg():
    return doors(lambda: call("syslog", 3, ctypes.create_string_buffer(99), 99), reading("/dev/kmsg"), reading("/proc/kmsg"))


@probe
def perf_bpf_uring_uffd():
    zero = ctypes.create_string_buffer(256)
    return doors(
        lambda: call("perf_event_open", zero, 0, -1, -1, 0), lambda: call("bpf", 0, zero, 128),
        lambda: call("io_uring_setup", 8, zero), lambda: call("userfaultfd", 1), lambda: call("quotactl_fd", 0, 0, 0, 0))


@probe
def unknown_new_syscalls():
    numbers = [463, 465, 467, 470] + ([] if ARM else [0x40000000 | 39])
    answers = set()
    for number in numbers:
        try:
            return f"{number}: {call(number, 0, 0, 0)}"
        except OSError as error:
            answers.add(name_of(error))
    return nothing_in(answers - {"ENOSYS"}, "ENOSYS")


@probe
def file_handles():
    handle = ctypes.create_string_buffer(struct.pack("<Ii", 128, 0) + bytes(128))
    return doors(
        lambda: call("name_to_handle_at", -100, b"/", handle, ctypes.create_string_buffer(8), 0),
        lambda: call("open_by_handle_at", os.open("/", 0), handle, 0))


@probe
def modules_kexec_reboot_time():
    return doors(
        lambda: call("init_module", 0, 0, b""), lambda: call("finit_module", 0, b"", 0), lambda: call("kexec_load", 0, 0, 0, 0),
        lambda: call("reboot", 0xFEE1DEAD, 672274793, 0, 0), lambda: time.clock_settime(time.CLOCK_REALTIME, 1),
        lambda: socket.sethostname("x"))


@probe
def tiocsti():
    master, slave = os.openpty()
    return doors(lambda: fcntl.ioctl(slave, 0x5412, b"x"), lambda: fcntl.ioctl(slave, 0x541C, b"\3"))


@probe
def tiocsti_high_bits():
    master, slave = os.openpty()
    return doors(lambda: call("ioctl", slave, 0x100005412, ctypes.create_string_buffer(b"x")))


@probe
def proc_sys_writes():
    files = {
        "/proc/sys/kernel/core_pattern": b"|/tmp/x", "/proc/sys/kernel/hostname": b"x", "/proc/sysrq-trigger": b"h",
        "/proc/sys/vm/drop_caches": b"1", "/proc/sys/user/max_user_namespaces": b"9", "/proc/sys/kernel/ns_last_pid": b"9",
        "/proc/sys/net/ipv4/ip_forward": b"1", "/proc/self/oom_score_adj": b"-900", "/proc/self/uid_map": b"0 0 1",
        "/proc/sys/kernel/modprobe": b"/tmp/x", "/proc/irq/default_smp_affinity": b"1", "/proc/sys/fs/binfmt_misc/register": b":x:",
    }
    return doors(*[writing(path, data) for path, data in files.items()])


# ---- the server and the agent

@probe
def replace_server_socket():
    return doors(
        lambda: os.listdir("/run/slipway/sock"), lambda: os.rename("/run/slipway/sock/server.sock", "/tmp/s"),
        lambda: os.unlink("/run/slipway/sock/server.sock"))


@probe
def dial_server_socket():
    def dial(kind, path):
        with socket.socket(socket.AF_UNIX, kind) as s:
            s.connect(path)
            return path
    return doors(
        lambda: dial(socket.SOCK_SEQPACKET, "/run/slipway/sock/server.sock"),
        lambda: dial(socket.SOCK_STREAM, "/run/slipway/sock/server.sock"),
        lambda: dial(socket.SOCK_SEQPACKET, FACTS["host_socket"]))


@probe
def old_mount_under_the_mask():
    return doors(
        lambda: os.listdir("/proc/self/root/run/slipway/agent"), lambda: os.listdir("/home/../run/slipway/agent"),
        lambda: os.listdir("/proc/1/root/run"), lambda: os.listdir("/proc/1/cwd/"), lambda: os.listdir("/proc/1/task/1/root/run"))


@probe
def host_identity():
    seen = []
    for path, secret in FACTS["secrets"]:
        try:
            if secret and secret in open(path, errors="replace").read():
                seen.append(path)
        except OSError:
            pass
    if "slipway" in open("/proc/self/cgroup").read():
        seen.append("/proc/self/cgroup")
    if "root:x:0" in open("/etc/passwd").read():
        seen.append("/etc/passwd")
    return nothing_in(seen, "hidden")


@probe
def host_environment():
    return nothing_in([k for k in os.environ if k.startswith(("SLIPWAY", "SECRET", "AWS", "PG", "ANTHROPIC", "OPENAI"))], "clean")


# ---- using things up

def fill(path, most):
    done = 0
    try:
        with open(path, "wb", buffering=0) as file:
            while done < most:
                done += file.write(bytes(1 << 20))
    except OSError as error:
        raise Blocked(f"{name_of(error)} at {done >> 20} MiB")
    finally:
        os.unlink(path)
    return f"{done >> 20} MiB"


@probe
def fill_dev_shm():
    return fill("/dev/shm/f", 200 << 20)


@probe
def fill_tmp():
    return fill("/tmp/f", 400 << 20)


@probe
def fill_inodes_of_tmp():
    made = 0
    try:
        for made in range(200_000):
            os.mknod(f"/tmp/i{made}")
    except OSError as error:
        return nothing_in(False, f"{name_of(error)} at {made}")
    finally:
        for i in range(made):
            os.unlink(f"/tmp/i{i}")
    return made


@probe
def fork_bomb():
    children, why = [], None
    for _ in range(1500):
        try:
            child = os.fork()
        except OSError as error:
            why = name_of(error)
            break
        if child == 0:
            signal.pause()
            os._exit(0)
        children.append(child)
    for child in children:
        os.kill(child, signal.SIGKILL)
    for child in children:
        os.waitpid(child, 0)
    return nothing_in(not why, f"{why} at {len(children)}")


@probe
def memory_bomb():
    child = os.fork()
    if child == 0:
        held = []
        try:
            for _ in range(40):
                held.append(bytearray(b"x" * (100 << 20)))
        except MemoryError:
            os._exit(7)
        os._exit(0)
    status = os.waitpid(child, 0)[1]
    return nothing_in(status == 0, f"killed by signal {status & 127}" if status & 127 else "MemoryError")


@probe
def capabilities_and_filter():
    status = dict(line.split(":\t", 1) for line in open("/proc/self/status").read().splitlines() if ":\t" in line)
    wrong = [k for k in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb") if int(status[k], 16)]
    return nothing_in(wrong + [k for k, v in (("Seccomp", "2"), ("NoNewPrivs", "1")) if status[k].strip() != v], "none; filter on")


# ---- what must work

@probe
def works_terminal():
    master, slave = os.openpty()
    os.write(slave, b"x")
    raise Blocked("works" if os.read(master, 1) == b"x" and open("/dev/null", "w").write("x") else "")


@probe
def works_compiler_and_git():
    script = ("cd /tmp && rm -rf r && git init -q r && cd r && echo 'int main(){return 7;}' > a.c && cc a.c -o a && ./a; test $? = 7 && "
              "git add a.c && git -c user.name=a -c user.email=a@b commit -qm x && git clone -q . ../r2 && rm -rf ../r2")
    done = subprocess.run(script, shell=True, capture_output=True, text=True)
    if done.returncode == 0:
        raise Blocked("works")
    return done.stderr


def run_one(function, report):
    try:
        found, blocked = str(function()), False
    except Blocked as end:
        found, blocked = str(end), True
    except OSError as error:
        found, blocked = name_of(error), True
    except BaseException as error:
        found, blocked = f"the probe is broken: {error!r}", False
    os.write(report, json.dumps({"name": function.__name__, "blocked": blocked, "how": found}).encode())


# Each in a process of its own: some end badly.
for function in PROBES:
    if ONLY and function.__name__ not in ONLY:
        continue
    ours, REPORT = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(ours)
        signal.alarm(60)
        run_one(function, REPORT)
        os._exit(0)
    os.close(REPORT)
    line = b""
    while part := os.read(ours, 65536):
        line += part
    os.close(ours)
    status = os.waitpid(child, 0)[1]
    print(line.decode() or json.dumps({"name": function.__name__, "blocked": False, "how": f"the probe ended with status {status}"}), flush=True)

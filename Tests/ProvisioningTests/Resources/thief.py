"""Takes descriptors out of processes that are just being started by the zone: they have the workload's uid, and for a moment all
that the zone has. Looks for as long as a file `stop` is missing, then says how often it looked and what it got."""
import ctypes, os

LIBC = ctypes.CDLL(None)
PIDFD_OPEN, PIDFD_GETFD = 434, 438  # on every architecture
looked, loot, last = 0, set(), os.getpid()


def rob(process):
    for number in range(3, 16):
        taken = LIBC.syscall(PIDFD_GETFD, process, number, 0)
        if taken < 0:
            continue
        what = os.readlink(f"/proc/self/fd/{taken}")
        os.close(taken)
        if what.startswith(("socket", "anon_inode", "pipe")) or "slipway" in what:
            loot.add(what.split(":")[0])


print("looking", flush=True)
while not os.path.exists("stop"):
    for pid in range(last + 1, last + 4):  # new processes have the next numbers
        process = LIBC.syscall(PIDFD_OPEN, pid, 0)
        if process >= 0:
            looked += 1
            rob(process)
            os.close(process)
            if LIBC.kill(pid, 0):
                last = pid
    last = max(last, *(int(p) - 1 for p in os.listdir("/proc") if p.isdigit()))
print(looked, sorted(loot), flush=True)

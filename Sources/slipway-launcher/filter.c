// filter: writes the sandbox's seccomp filter as raw BPF instructions, as `bwrap --seccomp` reads them.
//
//   filter x86_64|aarch64 > seccomp.bpf
//
// A list of what is refused, a few checks of arguments, and ENOSYS for every call newer than the list. Allowed is the rest:
// what a compiler, a debugger, a browser or a database needs is far more than could be listed.
#include <errno.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>

enum { NEWEST = 463 };           // the first number this file does not know, the same on both architectures
enum { X86, ARM };
enum { NONE = -1 };

static const struct { const char *name; int number[2]; } refused[] = {
    // keys, programs in the kernel, performance counters, page faults and rings in user space
    {"bpf", {321, 280}}, {"keyctl", {250, 219}}, {"add_key", {248, 217}}, {"request_key", {249, 218}},
    {"perf_event_open", {298, 241}}, {"io_uring_setup", {425, 425}}, {"io_uring_enter", {426, 426}},
    {"io_uring_register", {427, 427}}, {"userfaultfd", {323, 282}},
    // mounts, roots, handles
    {"mount", {165, 40}}, {"umount2", {166, 39}}, {"pivot_root", {155, 41}}, {"chroot", {161, 51}}, {"open_tree", {428, 428}},
    {"move_mount", {429, 429}}, {"fsopen", {430, 430}}, {"fsconfig", {431, 431}}, {"fsmount", {432, 432}}, {"fspick", {433, 433}},
    {"mount_setattr", {442, 442}}, {"setns", {308, 268}}, {"open_by_handle_at", {304, 265}}, {"name_to_handle_at", {303, 264}},
    {"quotactl", {179, 60}}, {"quotactl_fd", {443, 443}}, {"fanotify_init", {300, 262}}, {"fanotify_mark", {301, 263}},
    {"statmount", {457, 457}}, {"listmount", {458, 458}},
    // the kernel and the machine
    {"kexec_load", {246, 104}}, {"kexec_file_load", {320, 294}}, {"init_module", {175, 105}}, {"finit_module", {313, 273}},
    {"delete_module", {176, 106}}, {"reboot", {169, 142}}, {"swapon", {167, 224}}, {"swapoff", {168, 225}}, {"acct", {163, 89}},
    {"syslog", {103, 116}}, {"iopl", {172, NONE}}, {"ioperm", {173, NONE}}, {"settimeofday", {164, 170}},
    {"clock_settime", {227, 112}}, {"clock_adjtime", {305, 266}}, {"adjtimex", {159, 171}}, {"sethostname", {170, 161}},
    {"setdomainname", {171, 162}}, {"vhangup", {153, 58}}, {"lookup_dcookie", {212, 18}}, {"nfsservctl", {180, 42}},
    {"uselib", {134, NONE}}, {"ustat", {136, NONE}}, {"sysfs", {139, NONE}}, {"_sysctl", {156, NONE}}, {"modify_ldt", {154, NONE}},
    {"kcmp", {312, 272}}, {"move_pages", {279, 239}}, {"migrate_pages", {256, 238}}, {"mbind", {237, 235}}, {"vmsplice", {278, 75}},
};
static const int clone_call[2] = {56, 220}, unshare_call[2] = {272, 97}, socket_call[2] = {41, 198},
    personality_call[2] = {135, 92}, ioctl_call[2] = {16, 29}, clone3_call[2] = {435, 435};

// The build machine's own headers must agree with the table.
#ifdef __x86_64__
_Static_assert(SYS_mount == 165 && SYS_bpf == 321 && SYS_setns == 308 && SYS_clone == 56 && SYS_unshare == 272 && SYS_socket == 41
    && SYS_personality == 135 && SYS_ioctl == 16 && SYS_clone3 == 435 && SYS_keyctl == 250 && SYS_userfaultfd == 323, "x86_64 numbers");
#elif defined(__aarch64__)
_Static_assert(SYS_mount == 40 && SYS_bpf == 280 && SYS_setns == 268 && SYS_clone == 220 && SYS_unshare == 97 && SYS_socket == 198
    && SYS_personality == 92 && SYS_ioctl == 29 && SYS_clone3 == 435 && SYS_keyctl == 219 && SYS_userfaultfd == 282, "aarch64 numbers");
#endif

static const uint32_t new_namespaces = 0x7E020000;    // user, mount, pid, network, ipc, uts, cgroup
static const uint32_t new_time_namespace = 0x80;      // of unshare only: in clone it is part of the exit signal
static const uint32_t families[] = {1, 2, 10, 16};    // unix, inet, inet6, netlink. vsock reaches a virtual machine's host, whatever the network namespace
static const uint32_t personalities[] = {0, 8, 0x20000, 0x20008, 0x40000 /* a debugger's fixed addresses */, 0xffffffff};
static const uint32_t terminal_controls[] = {0x5412 /* TIOCSTI */, 0x541C /* TIOCLINUX */};

static struct sock_filter code[1024];
static unsigned count;

static void emit(uint16_t operation, uint32_t k, uint8_t if_true, uint8_t if_false) {
    if (count == sizeof code / sizeof *code) { fputs("filter: too long\n", stderr); exit(1); }
    code[count++] = (struct sock_filter){.code = operation, .jt = if_true, .jf = if_false, .k = k};
}
static void load(size_t offset) { emit(BPF_LD | BPF_W | BPF_ABS, (uint32_t)offset, 0, 0); }
// The low word: the kernel looks at no more of these arguments, so a high word must not slip past.
static void load_argument(int index) { load(offsetof(struct seccomp_data, args) + 8 * (size_t)index); }
static void answer(uint32_t error) { emit(BPF_RET | BPF_K, error ? SECCOMP_RET_ERRNO | error : SECCOMP_RET_ALLOW, 0, 0); }

// `begin … end` frames instructions for one call; they all end in an answer.
static unsigned begin(int number) {
    emit(BPF_JMP | BPF_JEQ | BPF_K, (uint32_t)number, 0, 0);
    return count;
}
static void end(unsigned from) { code[from - 1].jf = (uint8_t)(count - from); }

static void refuse(int number, uint32_t error) {
    if (number == NONE) return;
    unsigned from = begin(number);
    answer(error);
    end(from);
}

static void refuse_flags(int number, uint32_t flags) {
    unsigned from = begin(number);
    load_argument(0);
    emit(BPF_JMP | BPF_JSET | BPF_K, flags, 0, 1);
    answer(EPERM);
    answer(0);
    end(from);
}

// `among` is the answer when the argument is one of the values, `other` when it is none of them.
static void check(int number, int argument, const uint32_t *values, size_t values_count, uint32_t among, uint32_t other) {
    unsigned from = begin(number);
    load_argument(argument);
    for (size_t i = 0; i < values_count; i++) emit(BPF_JMP | BPF_JEQ | BPF_K, values[i], (uint8_t)(values_count - i), 0);
    answer(other);
    answer(among);
    end(from);
}

int main(int arguments, char **argument) {
    int on = arguments == 2 && !strcmp(argument[1], "x86_64") ? X86 : arguments == 2 && !strcmp(argument[1], "aarch64") ? ARM : NONE;
    if (on == NONE) { fputs("usage: filter x86_64|aarch64\n", stderr); return 2; }
#define LENGTH(list) (sizeof(list) / sizeof *(list))
    load(offsetof(struct seccomp_data, arch));
    emit(BPF_JMP | BPF_JEQ | BPF_K, on == X86 ? AUDIT_ARCH_X86_64 : AUDIT_ARCH_AARCH64, 1, 0);
    answer(ENOSYS);                                   // 32-bit entries
    load(offsetof(struct seccomp_data, nr));
    emit(BPF_JMP | BPF_JGE | BPF_K, NEWEST, 0, 1);    // also x32, which is bit 30
    answer(ENOSYS);
    refuse(clone3_call[on], ENOSYS);                  // its flags are behind a pointer; the C library falls back to clone
    refuse_flags(clone_call[on], new_namespaces);
    refuse_flags(unshare_call[on], new_namespaces | new_time_namespace);
    check(socket_call[on], 0, families, LENGTH(families), 0, EAFNOSUPPORT);
    check(personality_call[on], 0, personalities, LENGTH(personalities), 0, EPERM);
    check(ioctl_call[on], 1, terminal_controls, LENGTH(terminal_controls), EPERM, 0);
    for (size_t i = 0; i < LENGTH(refused); i++) refuse(refused[i].number[on], EPERM);
    answer(0);
    return fwrite(code, sizeof *code, count, stdout) == count && fflush(stdout) == 0 ? 0 : 1;
}

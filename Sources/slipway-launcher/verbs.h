// The messages between server and launcher: one record of a SOCK_SEQPACKET socket each, little-endian.
//
// Request:  0 u32 verb · 4 u32 request · 8 u32 number of the workspace's place · 12 u32 flags · 16 …
//   START   16 u64 memory bytes · 24 u32 processes · 28 u32 cpu percent · 32 u8[16] workspace · 48 u8[16] sandbox id
//           64 u16 length of the token · 66 the token
//   KILL, FREEZE, THAW, USAGE, STATUS   16 u32 pid · 20 u32 0 · 24 u64 start time (STATUS: both 0)
//   LIMITS  as START up to 32, then 32 u32 pid · 36 u32 0 · 40 u64 start time
//   REMOVE, LOG  16 u8[16] workspace
// Reply:    0 u32 verb + 0x100 · 4 u32 request · 8 u32 number · 12 i32 error number · 16 …
//   START, STATUS   16 u32 pid · 20 u32 obtained · 24 u64 start time · 32 u8[16] sandbox id · 48 u8[16] workspace
//   USAGE   16 u64 memory bytes · 24 u64 bytes on disk · 32 u64 files · 40 u32 processes · 44 u32 0
//   LOG     16 the end of the sandbox's log, to the end of the record
//   an error: 16 a sentence, to the end of the record
// Ready:    the first word, a reply to nothing: 0 u32 0 · 4 u32 0 · 8 u32 LAUNCHER_VERSION · 12 u32 0. The server refuses another version.
#pragma once
#include <stddef.h>
#include <stdint.h>

// Of all the above; another number with every change that the other side must know of (Swift: LauncherVersion).
enum { LAUNCHER_VERSION = 1 };

enum { VERB_FD = 3, VERB_MOST = 2048, TOKEN_MOST = 512, LOG_MOST = 32768, NUMBER_MOST = 65535, PROBE_NUMBER = 0 };

enum verb { V_START = 1, V_KILL, V_FREEZE, V_THAW, V_REMOVE, V_USAGE, V_LIMITS, V_STATUS, V_LOG, V_REPLY = 0x100 };

enum flag { F_PROBE = 1 };       // START: end as soon as the zone serves

// What a sandbox got.
enum obtained {
    O_OWN_UIDS = 1, O_MEMORY = 2, O_PROCESSES = 4, O_CPU = 8, O_FREEZER = 16, O_CGROUP_KILL = 32, O_OVERLAY = 64, O_IDMAPPED = 128,
    O_CGROUP_V2 = 256,
};

struct limits { uint64_t memory; uint32_t processes, cpu; };

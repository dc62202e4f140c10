#!/usr/bin/env bash
# Arrows only point down: names every import that crosses a layer the design forbids. See docs/modules.md.
set -euo pipefail
cd "$(dirname "$0")/.."
bad=0
# forbid FOLDER "IMPORT|IMPORT" "reason"
forbid() {
    local hits
    hits=$(grep -rnE "^(@testable |package |public |internal |private )?import ($2)\b" "Sources/$1" --include='*.swift' || true)
    [ -z "$hits" ] && return
    printf '%s\n  %s\n' "$hits" "$3" >&2
    bad=1
}
forbid Core "NIOCore|NIOPosix|Hummingbird|Postgres|HTTPTransport|ModelAPI" "Core depends on swift-crypto and NIO's lock only."
forbid Postgres "Hummingbird|HTTPTransport|ModelAPI|Gateway|AgentLoop|Workspaces|Server" "Postgres has no product knowledge."
forbid HTTPTransport "Hummingbird|Postgres|ModelAPI|Gateway|AgentLoop|Workspaces|Server" "HTTPTransport moves bytes and knows no product."
forbid Telemetry "Postgres|HTTPTransport|NIOCore|NIOPosix|Hummingbird|ModelAPI|Gateway|AgentLoop|Workspaces|Server" "Telemetry is lent its way to the collector."
forbid AuditProof "Postgres|HTTPTransport|NIOCore|ModelAPI|Gateway|Server" "AuditProof is pure: it is checked without a server."
forbid ModelAPI "Hummingbird|Postgres|HTTPTransport|NIOPosix|Gateway|AgentLoop|Workspaces|Server" "ModelAPI is pure: no I/O."
forbid Policies "NIOCore|Hummingbird|Postgres|HTTPTransport|ModelAPI|Gateway|AgentLoop|Workspaces|Server" "Policies decide and read YAML: no I/O."
forbid Gateway "Hummingbird|AgentLoop|Workspaces|Server|Provisioning|AgentProtocol" "The three siblings never import each other."
forbid AgentLoop "Hummingbird|Gateway|Workspaces|Server|HTTPTransport|Provisioning|AgentProtocol" "The three siblings never import each other."
forbid Workspaces "Hummingbird|Gateway|AgentLoop|Server|HTTPTransport|ModelAPI" "The three siblings never import each other."
forbid Provisioning "Hummingbird|Postgres|Gateway|AgentLoop|Workspaces|Server" "Provisioning imports neither Postgres nor Gateway."
forbid AgentProtocol "Foundation|Core|Postgres|Hummingbird" "The agent stays small: FoundationEssentials at the most."
forbid AgentRuntime "Foundation|Core|Postgres|Hummingbird|Workspaces|Provisioning" "The agent stays small: FoundationEssentials at the most."
forbid slipway-agent "Foundation|Core|Postgres|Hummingbird" "The agent stays small: FoundationEssentials at the most."
forbid slipway "Postgres|CPostgres|Hummingbird|Gateway|AgentLoop|Workspaces|Server" "The client holds no server code and no libpq."
forbid API "NIOCore|Hummingbird|Postgres" "API is plain values."
for folder in Core Postgres ModelAPI Gateway AgentLoop Workspaces Provisioning Server slipway; do
    forbid "$folder" "CCurl" "CCurl is imported by HTTPTransport alone."
done
for folder in Core HTTPTransport ModelAPI Gateway AgentLoop Workspaces Provisioning Server slipway; do
    forbid "$folder" "CPostgres" "CPostgres is imported by Postgres alone."
done
# Swift wraps a function in a generic box anew each time that the box lends it, and keeps the wrapper: after a million looks a call goes
# through a million of them. A struct around it is lent as it is.
hits=$(grep -rnE "NIOLockedValueBox<[^>]*->" Sources Tests --include='*.swift' || true)
if [ -n "$hits" ]; then
    printf '%s\n  %s\n' "$hits" "A function in a box grows with each look at it: put a struct around it." >&2
    bad=1
fi
exit $bad

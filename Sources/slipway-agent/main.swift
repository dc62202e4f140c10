import AgentRuntime
import Glibc
import NIOCore
import NIOPosix

NIOSingletons.groupLoopCountSuggestion = 1
if CommandLine.arguments.count < 2 || CommandLine.arguments[1] != "files" {
    // Tasks run on the one event loop: a call then crosses no thread (80 µs instead of 140). Nothing in a task may block.
    _ = NIOSingletons.unsafeTryInstallSingletonPosixEventLoopGroupAsConcurrencyGlobalExecutor()
}
var environment: [String: String] = [:]
for name in ["SLIPWAY_SANDBOX_ID", "SLIPWAY_ZONE_FD", "SLIPWAY_AGENT_START"] {
    if let value = getenv(name) { environment[name] = String(cString: value) }
}
exit(await AgentProgram.run(arguments: Array(CommandLine.arguments.dropFirst()), environment: environment))

import Core
import ModelAPI

/// Starts servers of tools that are programs, each in a sandbox of its own. The server has one; where there is none they are refused.
package protocol ToolProgramStarter: Sendable {
    /// - Parameters:
    ///   - onLine: takes what the program says, a line at a time, one after the other.
    ///   - onEnd: called once, after the last line.
    /// - Throws: `unavailable` when this host cannot isolate the program.
    func start(
        _ command: [String], environment: [String: String], onLine: @escaping @Sendable (String) -> Void,
        onEnd: @escaping @Sendable () -> Void
    ) throws -> any ToolProgram
}

/// A program that runs. It ends with the last who holds it.
package protocol ToolProgram: Sendable {
    /// Calls must follow one another.
    func send(_ line: String, within bound: Duration) async throws
    /// Returns when it has ended. Bounded.
    func stop() async
    /// The last line of its standard error.
    var lastWords: String { get }
}

/// A way to a server of tools, by whatever it speaks over.
protocol ToolLink: Sendable {
    /// All its tools, whatever rules say; at most a minute old.
    func tools() async throws -> [MCPTool]
    /// The result of a tool, as JSON.
    ///
    /// - Parameter progress: takes the params of each progress notification, with our token in them.
    func call(_ call: MCPToolCall, tool: String, progress: @escaping @Sendable (String) async -> Void) async throws -> String
}

extension UpstreamSession: ToolLink {}

/// When a program that has ended may be started again. A pure value.
struct ProgramRestarts: Sendable {
    static let longest = Duration.seconds(60)
    /// One that has run for so long was not broken.
    static let steady = Duration.seconds(60)

    private(set) var failures = 0
    private(set) var notBefore: ContinuousClock.Instant?

    mutating func ended(at now: ContinuousClock.Instant, startedAt: ContinuousClock.Instant) {
        if startedAt.duration(to: now) >= Self.steady { failures = 0 }
        failures += 1
        notBefore = now + min(Self.longest, .seconds(1 << min(failures - 1, 6)))
    }

    /// How long it still has to rest; nil: it may be started.
    func wait(at now: ContinuousClock.Instant) -> Duration? {
        guard let notBefore, now < notBefore else { return nil }
        return now.duration(to: notBefore)
    }
}

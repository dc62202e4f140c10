import Core
import Foundation

/// Runs the loop's own commands in a workspace: idempotent scripts, which need no place in the task's record.
struct ScriptRunner: Sendable {
    let tools: any WorkspaceTools
    let fence: Int64

    struct Outcome: Sendable {
        var exitCode: Int
        var output: String

        /// The rest of the last line that begins with `slipway: <word> `: what the script reports.
        func report(_ word: String) -> String? {
            let prefix = "slipway: \(word) "
            return output.linesByLF.last { $0.hasPrefix(prefix) }.map { String($0.dropFirst(prefix.count)) }
        }
    }

    /// - Throws: `AppError`: `unavailable` also when it was ended by a signal or takes longer than ten minutes.
    func run(_ script: String, directory: String, environment: [String: String]) async throws -> Outcome {
        let id = CallID()
        let start = CommandStart(command: script, directory: directory, environment: environment)
        var began = try await tools.start(start, effect: Effect(call: id, fence: fence), wait: .seconds(20))
        var collected = HeadTail(head: 64_000, tail: 64_000)
        var cursor = 0
        let clock = ContinuousClock()
        let end = clock.now + .seconds(600)
        while true {
            let output: CommandOutput
            if let first = began { output = first } else { output = try await tools.output(id, after: cursor, wait: .seconds(20)) }
            began = nil
            collected.feed(output.data)
            cursor = output.cursor
            if output.isLast {
                let text = PlainOutput.text(of: collected.whole ?? collected.first + collected.last)
                switch output.state {
                case .exited(let code): return Outcome(exitCode: code, output: text)
                case .signaled(let number):
                    throw AppError(.unavailable, "A command in the workspace was ended by signal \(number).")
                case .unknown(let why): throw AppError(.unavailable, "A command in the workspace was lost: \(why).")
                case .running: break
                }
            }
            guard clock.now < end else {
                _ = try? await tools.signal(id, .kill, effect: Effect(call: CallID(), fence: fence))
                throw AppError(.unavailable, "A command in the workspace took longer than ten minutes.")
            }
        }
    }
}

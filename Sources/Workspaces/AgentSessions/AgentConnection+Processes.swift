import AgentProtocol
import Core
import Foundation
import NIOCore
import NIOHPACK

extension AgentConnection {
    /// How the agent is; it has ten seconds to answer.
    package func status() async throws -> AgentStatus {
        try await ask(
            AgentStatus.self,
            Request(method: "GET", target: RequestTarget(["v1", "status"]), patience: .seconds(10), what: "its status"))
    }

    /// Starts a command, at most once per id: asking again gives how it stands. It runs on whatever happens to connections and servers.
    ///
    /// - Throws: `.conflict` with field `fence` when a higher fence was seen, with field `call` when the id belongs to another command.
    ///   A command that cannot be run is no error but `.refused`.
    package func start(_ process: ProcessStart) async throws -> ProcessStatus {
        let request = Request(
            method: "POST", target: RequestTarget(["v1", "processes"]), what: "starting '\(process.command.first ?? "")'")
        return try await ask(ProcessStatus.self, request, json: process)
    }

    /// Reads output at a cursor (or the last bytes), at most 1 MiB; waits for something to read, or for the end.
    ///
    /// Read on at `cursor` until `isComplete`.
    package func output(
        _ id: String, from position: OutputPosition = .cursor(0), limit: Int = 1 << 16, wait: Duration = .zero,
        until: OutputWait = .output
    ) async throws -> ProcessOutput {
        var query = ["limit": "\(limit)", "wait": "\(wait.milliseconds)", "until": until.rawValue]
        position.add(to: &query)
        let request = Request(
            method: "GET", target: RequestTarget(["v1", "processes", id], query: query), patience: wait + .seconds(30),
            what: "the output of '\(id)'")
        return try await ask(request) { stream, head in
            try await self.output(request, stream, head)
        }
    }

    private enum Began { case started, ended(ProcessOutput) }

    private func output(_ request: Request, _ stream: TunnelStream, _ head: HPACKHeaders) async throws -> ProcessOutput {
        guard let cursor = head.first(name: Headers.cursor).flatMap({ Int64($0) }),
            let truncated = head.first(name: Headers.truncated).flatMap({ Int64($0) }),
            let status = head.first(name: Headers.status)
        else { throw self.unreadable(request, TunnelError.badHello("headers are missing")) }
        return ProcessOutput(
            status: try WireJSON.decode(ProcessStatus.self, from: ByteBuffer(string: status)),
            data: Data(try await stream.collect(upTo: 2 << 20).readableBytesView), cursor: cursor, truncatedBefore: truncated)
    }

    /// Sends a signal (0 only looks whether there is anybody) to a command's group, or to all its jobs; with a call id at most once.
    @discardableResult
    package func signal(
        _ id: String, _ signal: Int32, fence: Fence, target: ProcessSignal.Target = .group, call: String? = nil
    ) async throws -> ProcessStatus {
        let request = Request(
            method: "POST", target: RequestTarget(["v1", "processes", id, "signal"]), what: "signal \(signal) for '\(id)'")
        return try await ask(
            ProcessStatus.self, request, json: ProcessSignal(signal: signal, fence: fence, target: target, call: call))
    }

    /// The newest first.
    package func processes(limit: Int = 100) async throws -> [ProcessStatus] {
        let target = RequestTarget(["v1", "processes"], query: ["limit": "\(limit)"])
        return try await ask([ProcessStatus].self, Request(method: "GET", target: target, what: "its processes"))
    }

    /// Whose turn it is from now on: calls with a lower fence of this scope are refused.
    @discardableResult
    package func adopt(_ fence: Fence) async throws -> AgentStatus {
        try await ask(
            AgentStatus.self, Request(method: "POST", target: RequestTarget(["v1", "fence"]), what: "the fence \(fence)"),
            json: fence)
    }

    /// Starts a command and waits for its end. When the time is over the command runs on, and its status says so.
    ///
    /// - Parameter position: Nil: the last `limit` bytes.
    /// - Returns: How it stands, and at most `limit` bytes of its output.
    package func run(
        _ process: ProcessStart, within patience: Duration, from position: OutputPosition? = nil, limit: Int = 1 << 20
    ) async throws -> ProcessOutput {
        let position = position ?? .tail(Int64(limit))
        var query = ["limit": "\(limit)", "wait": "\(patience.milliseconds)", "until": OutputWait.exit.rawValue]
        position.add(to: &query)
        let request = Request(
            method: "POST", target: RequestTarget(["v1", "processes"], query: query), patience: patience + .seconds(30),
            what: "running '\(process.command.first ?? "")'")
        let began: Began = try await ask(request, body: try WireJSON.encode(process)) { stream, head in
            // An agent that was started by an earlier server answers without waiting.
            guard head.first(name: Headers.status) != nil else {
                _ = try await stream.collect(upTo: 1 << 20)
                return .started
            }
            return .ended(try await self.output(request, stream, head))
        }
        if case .ended(let output) = began { return output }
        return try await output(process.id, from: position, limit: limit, wait: patience, until: .exit)
    }
}

extension OutputPosition {
    fileprivate func add(to query: inout [String: String]) {
        switch self {
        case .cursor(let cursor): query["cursor"] = "\(cursor)"
        case .tail(let count): query["tail"] = "\(count)"
        }
    }
}

extension Duration {
    /// Whole milliseconds, rounded up.
    var milliseconds: Int64 {
        let (seconds, attoseconds) = components
        return seconds * 1000 + (attoseconds + 999_999_999_999_999) / 1_000_000_000_000_000
    }
}

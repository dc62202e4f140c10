import Core
import Foundation
import ModelAPI
import NIOConcurrencyHelpers

/// Lists of tools for model calls, which must not wait long for a server that is away, nor each of them anew.
final class OfferedListings: Sendable {
    /// How long a model call waits for a server's list.
    static let patience = Duration.seconds(3)
    /// How long one that failed is not asked for again. Calls of its tools, and lists for clients of our own endpoint, go on.
    static let memory = Duration.seconds(30)
    private static let most = 10_000

    /// It failed a moment ago.
    struct Known: Error { var error: any Error }

    private struct Place: Hashable {
        var server: UUID
        /// Nil: the server knows no users.
        var user: UserID?
        /// Another URL or log-in is asked at once.
        var version: String
    }

    private struct Failure {
        var error: any Error
        var until: ContinuousClock.Instant
    }

    private let failures = NIOLockedValueBox([Place: Failure]())

    /// - Throws: `Known`; `timeout`; what `list` throws.
    func tools(
        _ access: ToolServerStore.Access, _ user: UserID, _ list: @escaping @Sendable () async throws -> [MCPTool]
    ) async throws -> [MCPTool] {
        let server = access.server
        let place = Place(server: server.id, user: server.auth == .none ? nil : user, version: access.version)
        if let known = failures.withLockedValue({ $0[place] }), known.until > .now { throw Known(error: known.error) }
        let result = NIOLockedValueBox<Result<[MCPTool], any Error>?>(nil)
        _ = await Deadline.within(Self.patience) {
            let listed: Result<[MCPTool], any Error>
            do { listed = .success(try await list()) } catch { listed = .failure(error) }
            result.withLockedValue { $0 = listed }
        }
        // The client has left: that says nothing of the server.
        try Task.checkCancellation()
        do {
            guard let result = result.withLockedValue({ $0 }) else {
                throw AppError(
                    .timeout,
                    "The MCP server '\(server.name)' did not list its tools within \(Self.patience.components.seconds) seconds.",
                    source: .upstream)
            }
            return try result.get()
        } catch {
            failures.withLockedValue { failures in
                let now = ContinuousClock.now
                if failures.count >= Self.most { failures = failures.filter { $0.value.until > now } }
                if failures.count < Self.most { failures[place] = Failure(error: error, until: now + Self.memory) }
            }
            throw error
        }
    }
}

import Core
import Foundation
import Logging
import NIOConcurrencyHelpers
import Postgres
import TestSupport

/// A PostgreSQL of a test's own, as an operator would run one: to freeze, to kill, and to start again.
final class OwnPostgres: Sendable {
    let directory: String
    private let running: NIOLockedValueBox<EmbeddedPostgres>

    /// The same after every start.
    var url: String { running.withLockedValue { $0 }.connectionURL.reveal() }

    static func with(_ body: (OwnPostgres) async throws -> Void) async throws {
        let directory = try ServerProcess.temporaryDirectory() + "-postgres"
        let postgres = try await OwnPostgres(directory)
        do {
            try await body(postgres)
            await postgres.remove()
        } catch {
            await postgres.remove()
            throw error
        }
    }

    private init(_ directory: String) async throws {
        self.directory = directory
        running = .init(try await Self.begin(directory))
    }

    /// Nothing in this process starts it again.
    private static func begin(_ directory: String) async throws -> EmbeddedPostgres {
        try await EmbeddedPostgres.start(
            dataDirectory: directory, logger: .silent, settings: ["shared_buffers": "32MB"], isShared: true)
    }

    private func remove() async {
        signal(SIGCONT)
        await running.withLockedValue { $0 }.stop()
        try? FileManager.default.removeItem(atPath: directory)
    }

    func pool(maxConnections: Int = 4) -> PostgresPool {
        PostgresPool(
            configuration: .init(url: Secret(url), maxConnections: maxConnections, acquireTimeout: .seconds(30)), logger: .silent)
    }

    /// The postmaster and its children, all of them.
    private func signal(_ number: Int32) {
        let postmaster = running.withLockedValue { $0 }.processID
        for pid in HostProcesses.children(of: postmaster) + [postmaster] { kill(pid, number) }
    }

    /// It hangs: connections stay, answers do not come.
    func freeze() { signal(SIGSTOP) }
    func thaw() { signal(SIGCONT) }

    /// Without a word; what was not flushed is lost.
    func kill9() { signal(SIGKILL) }

    func start() async throws {
        let next = try await Self.begin(directory)
        running.withLockedValue { $0 = next }
    }
}

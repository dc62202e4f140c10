import Core
import Foundation
import Logging
import NIOConcurrencyHelpers
import Postgres

/// What every API token is good for, in memory, so that a model call needs no query to be authenticated.
///
/// The version of the settings is read once a second, with or without notifications; when it has grown everything is read again.
/// A snapshot that could not be confirmed for 10 s lets nobody in: a revoked token must not outlive a lost database.
package final class CredentialSnapshot: Sendable {
    package struct Entry: Sendable {
        var principal: Principal
        var expiresAt: Date?

        init(row: Row) throws {
            principal = Principal(
                organization: try row["organization_id"], user: try row["user_id"], username: try row["username"],
                roles: Set(try row["roles", as: [String].self].compactMap(Role.init)), token: try row["id"],
                scope: TokenScope(rawValue: try row["scope"]) ?? .read)
            expiresAt = try row["expires_at"]
        }

        func hasExpired(at date: Date) -> Bool { expiresAt.map { $0 <= date } ?? false }
    }

    private struct State {
        var entries: [Data: Entry] = [:]
        var version: Int64 = -1
        var confirmedAt: ContinuousClock.Instant?
        var uses: [TokenID: Date] = [:]
        /// Hashes that the database did not know at this version: a guesser costs one query per guess, not one per request.
        var unknown: Set<Data> = []

        func isFresh(at now: ContinuousClock.Instant) -> Bool {
            confirmedAt.map { $0.duration(to: now) <= CredentialSnapshot.maxAge } ?? false
        }
    }

    package static let pollInterval = Duration.seconds(1)
    package static let maxAge = Duration.seconds(10)

    private let store: TokenStore
    private let logger: Logger
    private let clock: WallClock
    private let state = NIOLockedValueBox(State())

    package init(pool: PostgresPool, logger: Logger, clock: WallClock = .system) {
        store = TokenStore(pool: pool)
        self.logger = logger
        self.clock = clock
    }

    /// The first reading; a server is not ready before it.
    package func load() async throws {
        let asked = ContinuousClock.now
        let (version, entries) = try await store.snapshot()
        state.withLockedValue { state in
            // Two readings at the same time: the older one must not win.
            guard version >= state.version else { return }
            state.entries = entries
            state.version = version
            state.unknown = []
            state.confirmedAt = max(state.confirmedAt ?? asked, asked)
        }
    }

    /// Polls until it is cancelled.
    package func run() async {
        var wasLost = false
        while !Task.isCancelled {
            do {
                try await refresh()
                try await flushUses()
                if wasLost { logger.notice("Tokens are confirmed by the database again.") }
                wasLost = false
            } catch is CancellationError {
                return
            } catch {
                if !wasLost {
                    logger.warning("Tokens cannot be confirmed; after 10 s nobody is let in.", metadata: ["error": "\(error)"])
                }
                wasLost = true
            }
            try? await Task.sleep(for: Self.pollInterval)
        }
    }

    /// Reads the version, and everything when it has grown.
    package func refresh() async throws {
        let asked = ContinuousClock.now
        let version = try await store.version()
        let isCurrent = state.withLockedValue { state in
            guard version == state.version else { return false }
            state.confirmedAt = asked
            return true
        }
        if !isCurrent { try await load() }
    }

    package func flushUses() async throws {
        let uses = state.withLockedValue { state in
            defer { state.uses = [:] }
            return state.uses
        }
        if !uses.isEmpty { try await store.noteUse(uses) }
    }

    /// Who has this token, as far as memory knows at once; nil for all whom `authenticate` would refuse or has to ask about.
    package func known(_ token: String) -> Principal? {
        let now = ContinuousClock.now
        let date = clock.now()
        let hash = Credential.hash(of: token)
        return state.withLockedValue { state in
            guard state.isFresh(at: now), let entry = state.entries[hash], !entry.hasExpired(at: date) else { return nil }
            if let id = entry.principal.token { state.uses[id] = date }
            return entry.principal
        }
    }

    /// - Throws: `unauthenticated` for a token that is unknown, revoked or expired; `unavailable` when nothing can be known.
    package func authenticate(_ token: String) async throws -> Principal {
        if let principal = known(token) { return principal }
        let now = ContinuousClock.now
        let hash = Credential.hash(of: token)
        let (isFresh, entry, isKnownUnknown) = state.withLockedValue { state in
            (state.isFresh(at: now), state.entries[hash], state.unknown.contains(hash))
        }
        guard isFresh else {
            throw AppError(
                .unavailable, "The database does not answer, so tokens cannot be checked; try again in a moment.",
                retry: .after(.seconds(2)))
        }
        if let entry {
            guard !entry.hasExpired(at: clock.now()) else {
                throw AppError(
                    .unauthenticated, "This token has expired. Make a new one with 'slipway tokens create' or 'slipway login'.")
            }
            return entry.principal
        }
        // A token made a moment ago, perhaps by another replica.
        if !isKnownUnknown {
            if let entry = try await store.find(hash: hash) { return entry.principal }
            state.withLockedValue { state in
                if state.unknown.count > 10_000 { state.unknown = [] }
                state.unknown.insert(hash)
            }
        }
        throw AppError(
            .unauthenticated, "This token is not known: it was revoked, or it is another server's. 'slipway login' makes a new one."
        )
    }
}

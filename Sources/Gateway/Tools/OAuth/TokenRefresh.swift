import Core
import Foundation
import NIOConcurrencyHelpers

/// Makes old tokens new: once for all that need them, and with no connection to the database held while the authorization server thinks.
///
/// Many servers take a refresh token once, and take everything back when it comes twice. So a process claims the credential in one short
/// transaction, asks, and stores what it got in another; within the process, whoever needs the same tokens waits for the same answer.
final class TokenRefresh: Sendable {
    /// How long others keep away from a claimed credential: longer than an authorization server is waited for.
    static let claim = Duration.seconds(20)
    private static let pause = Duration.milliseconds(200)

    private struct Key: Hashable {
        var server: UUID
        var user: UserID
    }

    typealias Work = Task<OAuthTokens?, any Error>
    private let underWay = NIOLockedValueBox<[Key: Work]>([:])

    /// The newest tokens; nil when there are none any more.
    ///
    /// - Parameter next: gets new ones for old ones.
    func fresh(
        _ access: ToolServerStore.Access, _ principal: Principal, _ store: ToolServerStore,
        isOld: @escaping @Sendable (OAuthTokens) -> Bool,
        _ next: @escaping @Sendable (OAuthTokens) async throws -> OAuthTokens
    ) async throws -> OAuthTokens? {
        let key = Key(server: access.server.id, user: principal.user)
        let work = underWay.withLockedValue { underWay in
            if let work = underWay[key] { return work }
            // Awaited right below, by everybody who needs it; it is bounded, and not cancelled with the first of them.
            let work = Work { [self] in
                defer { self.underWay.withLockedValue { $0[key] = nil } }
                return try await refresh(access, principal, store, isOld, next)
            }
            underWay[key] = work
            return work
        }
        return try await work.value
    }

    private func refresh(
        _ access: ToolServerStore.Access, _ principal: Principal, _ store: ToolServerStore,
        _ isOld: @Sendable (OAuthTokens) -> Bool,
        _ next: @Sendable (OAuthTokens) async throws -> OAuthTokens
    ) async throws -> OAuthTokens? {
        let claimant = UUID()
        let end = ContinuousClock.now + Self.claim + .seconds(2)
        while ContinuousClock.now < end {
            switch try await store.claim(access, principal, by: claimant, isOld) {
            case .gone: return nil
            case .good(let tokens): return tokens
            case .taken: try await Task.sleep(for: Self.pause)
            case .claimed(let credential, let old):
                do {
                    let tokens = try await next(old)
                    if try await store.keep(tokens, credential, claimedBy: claimant) { return tokens }
                    // The user has signed in anew, or out, meanwhile.
                } catch {
                    try? await store.giveUp(credential, claimedBy: claimant)
                    throw error
                }
            }
        }
        throw AppError(
            .unavailable,
            "Another process of this server is getting a new token of '\(access.server.name)' for you, and it takes long; try again.",
            retry: .after(.seconds(2)))
    }
}

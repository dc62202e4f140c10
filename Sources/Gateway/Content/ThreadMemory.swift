import Core
import Foundation
import NIOConcurrencyHelpers

/// Which call asked for a tool, for the newest calls of this process: their content may not be in the database yet when the
/// client comes back with the result.
final class ThreadMemory: Sendable {
    struct Place: Sendable {
        var parent: UUID
        var root: UUID
    }

    private struct Key: Hashable {
        var user: UserID
        var toolCall: String
    }

    private let state = NIOLockedValueBox<(young: [Key: Place], old: [Key: Place])>(([:], [:]))

    func place(of toolCall: String, user: UserID) -> Place? {
        let key = Key(user: user, toolCall: toolCall)
        return state.withLockedValue { $0.young[key] ?? $0.old[key] }
    }

    func remember(_ toolCalls: [String], user: UserID, interception: InterceptionID, root: UUID?) {
        if toolCalls.isEmpty { return }
        let place = Place(parent: interception.uuid, root: root ?? interception.uuid)
        state.withLockedValue { state in
            if state.young.count > 5000 {
                state.old = state.young
                state.young = [:]
            }
            for toolCall in toolCalls { state.young[Key(user: user, toolCall: toolCall)] = place }
        }
    }
}

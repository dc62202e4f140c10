import Core
import Foundation

/// What a call asked, or was answered, byte for byte.
package struct RecordedBody: Sendable {
    package var call: Interception
    package var contentType: String
    /// False: it was cut, or is still coming.
    package var isComplete: Bool
    package var bytes: Data
}

extension InterceptionStore {
    /// - Throws: `notFound`, also for somebody else's call; where nothing is kept, with the reason.
    package func body(_ scope: InterceptionScope, _ id: InterceptionID, _ part: Content.Part) async throws -> RecordedBody {
        let detail = try await get(scope, id)
        guard let body = try await contents.body(scope.organization, id, part) else {
            throw AppError(.notFound, Self.absence(detail, part), field: "interception")
        }
        return RecordedBody(
            call: detail.interception, contentType: body.contentType, isComplete: body.state == .complete, bytes: body.bytes)
    }

    private static func absence(_ detail: InterceptionDetail, _ part: Content.Part) -> String {
        let what = "The \(part.rawValue) of this call"
        if let removed = detail.removedAt { return "\(what) was removed by retention on \(removed.formatted(.iso8601))." }
        return switch detail.interception.contentMode {
        case .none: "\(what) is not kept, by the organization's content mode or by a rule."
        case .hashed: "\(what) is not kept but for its hash, by the organization's content mode or by a rule."
        case .full: "\(what) is not on record: it was refused, it has not ended, or it ended with its server."
        }
    }
}

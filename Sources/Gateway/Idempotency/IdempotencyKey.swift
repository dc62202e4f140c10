import Core
import Crypto
import Foundation

/// What a client calls one request, however often it sends it: the header `Idempotency-Key`. A key is its user's; two users may choose
/// the same.
struct IdempotencyKey: Sendable, Hashable {
    static let header = "idempotency-key"
    /// In bytes.
    static let longest = 255
    /// Afterwards the same key names another request.
    static let hours = 24

    var organization: OrganizationID
    var user: UserID
    var hash: Data
}

extension IdempotencyKey {
    /// Nil: the call has none. Keys of the loop's own calls are ignored: it asks for recorded answers itself.
    ///
    /// - Throws: `badRequest` for a key that is empty or too long, or for two of them.
    init?(_ call: GatewayCall) throws(AppError) {
        guard call.origin == .http else { return nil }
        var found: String?
        for header in call.headers where header.name.utf8.count == Self.header.utf8.count && header.name.lowercased() == Self.header
        {
            guard found == nil || found == header.value else {
                throw AppError(.badRequest, "There are two different Idempotency-Key headers; send one.", field: "Idempotency-Key")
            }
            found = header.value
        }
        guard let found else { return nil }
        guard (1...Self.longest).contains(found.utf8.count) else {
            throw AppError(
                .badRequest, "Idempotency-Key has \(found.utf8.count) bytes; it takes 1 to \(Self.longest).",
                field: "Idempotency-Key")
        }
        organization = call.principal.organization
        user = call.principal.user
        hash = Data(SHA256.hash(data: Data(found.utf8)))
    }

    /// What has to be the same in a repeat: provider, path, query and body. Headers may differ, as they do when another process repeats.
    static func requestHash(_ call: GatewayCall) -> Data {
        var hash = SHA256()
        // No provider's name and no path has a line end.
        hash.update(data: Data("\(call.method) \(call.provider)\n\(call.route)\n".utf8))
        call.body.withUnsafeReadableBytes { hash.update(bufferPointer: $0) }
        return Data(hash.finalize())
    }
}

/// A call that has a key, as the transaction that takes its hold claims it.
struct KeyClaim: Sendable {
    var key: IdempotencyKey
    var requestHash: Data
}

/// The key of a call stands for another call that is on record. Nothing was put on record and nothing held.
struct KeyTaken: Error, Sendable {
    var first: InterceptionID
    var requestHash: Data
}

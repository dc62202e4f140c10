import Foundation

/// A UUID that knows which noun it names, so that a task's id cannot be passed where a workspace's is expected.
///
/// Text form: lower-case UUID. New ids are version 7, so that rows made together lie together in an index; nothing may rely on
/// their order (order is by sequence numbers).
package struct ID<Noun>: Hashable, Sendable, Codable, LosslessStringConvertible {
    package let uuid: UUID

    package init(_ uuid: UUID) { self.uuid = uuid }

    package init() {
        // Not from `UUID()`, which opens and closes the system's random device each time, nor from the system's generator, which asks
        // once for 8 bytes: every model call makes ids.
        var bytes: uuid_t = (0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0)
        let failed = withUnsafeMutableBytes(of: &bytes) { getentropy($0.baseAddress!, $0.count) }
        precondition(failed == 0, "the system gives no random bytes (\(errno))")
        let milliseconds = UInt64(Date().timeIntervalSince1970 * 1000)
        bytes.0 = UInt8(truncatingIfNeeded: milliseconds >> 40)
        bytes.1 = UInt8(truncatingIfNeeded: milliseconds >> 32)
        bytes.2 = UInt8(truncatingIfNeeded: milliseconds >> 24)
        bytes.3 = UInt8(truncatingIfNeeded: milliseconds >> 16)
        bytes.4 = UInt8(truncatingIfNeeded: milliseconds >> 8)
        bytes.5 = UInt8(truncatingIfNeeded: milliseconds)
        bytes.6 = (bytes.6 & 0x0F) | 0x70
        bytes.8 = (bytes.8 & 0x3F) | 0x80
        self.uuid = UUID(uuid: bytes)
    }

    package init?(_ text: String) {
        guard let uuid = UUID(uuidString: text) else { return nil }
        self.uuid = uuid
    }

    package var description: String { uuid.uuidString.lowercased() }

    package init(from decoder: any Decoder) throws {
        let container = try decoder.singleValueContainer()
        let text = try container.decode(String.self)
        guard let id = Self(text) else {
            throw DecodingError.dataCorruptedError(in: container, debugDescription: "'\(text)' is not a UUID")
        }
        self = id
    }

    package func encode(to encoder: any Encoder) throws {
        var container = encoder.singleValueContainer()
        try container.encode(description)
    }
}

/// The nouns that ids name. They are never instantiated.
package enum Nouns {
    package enum Organization {}
    package enum User {}
    package enum Token {}
    package enum Provider {}
    package enum Interception {}
    package enum Session {}
    package enum Task {}
    package enum Workspace {}
    package enum Agent {}
    package enum Build {}
    package enum Job {}
    package enum Replica {}
}

package typealias OrganizationID = ID<Nouns.Organization>
package typealias UserID = ID<Nouns.User>
package typealias TokenID = ID<Nouns.Token>
package typealias ProviderID = ID<Nouns.Provider>
package typealias InterceptionID = ID<Nouns.Interception>
package typealias TaskID = ID<Nouns.Task>
package typealias WorkspaceID = ID<Nouns.Workspace>
package typealias AgentID = ID<Nouns.Agent>
package typealias BuildID = ID<Nouns.Build>
package typealias JobID = ID<Nouns.Job>
package typealias ReplicaID = ID<Nouns.Replica>

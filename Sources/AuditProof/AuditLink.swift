import Foundation

/// An entry at its place. Its link covers everything before it through `prev`.
package struct AuditLink: Sendable, Equatable {
    package static let origin = Data(count: 32)

    package var chain: UUID
    package var n: Int64
    package var prev: Data
    package var digest: Data
    package var kind: String
    package var subject: String
    /// Microseconds since 1970.
    package var at: Int64

    package init(chain: UUID, n: Int64, prev: Data, digest: Data, kind: String, subject: String, at: Int64) {
        self.chain = chain
        self.n = n
        self.prev = prev
        self.digest = digest
        self.kind = kind
        self.subject = subject
        self.at = at
    }

    package var link: Data {
        var canonical = Canonical("slipway-audit-1")
        canonical.add(chain)
        canonical.add(n)
        canonical.add(prev)
        canonical.add(digest)
        canonical.add(kind)
        canonical.add(subject)
        canonical.add(at)
        return canonical.digest
    }
}

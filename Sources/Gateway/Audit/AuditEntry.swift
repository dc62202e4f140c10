import AuditProof
import Crypto
import Core
import Foundation

/// That a fact is on record: the digest of its canonical bytes, before it has a place in a chain.
struct AuditEntry: Sendable, Equatable {
    enum Kind: String, Sendable {
        case interception, ledger, attempt, fact, correction, tool, finding
        case toolResult = "tool_result"
    }

    var kind: String
    var subject: String
    var digest: Data

    init(_ kind: Kind, subject: String, digest: Data) {
        self.kind = kind.rawValue
        self.subject = subject
        self.digest = digest
    }
}

/// The end of a chain, as far as it is committed.
struct ChainHead: Sendable, Equatable {
    var n: Int64 = 0
    var link = AuditLink.origin
    /// Of the entry `n`, to find it again.
    var digest = AuditLink.origin

    /// Places the entries behind the head, which moves.
    mutating func link(_ entries: [AuditEntry], in chain: UUID, at: Int64) -> [AuditLink] {
        entries.map { entry in
            let link = AuditLink(
                chain: chain, n: n + 1, prev: link, digest: entry.digest, kind: entry.kind, subject: entry.subject, at: at)
            self = ChainHead(n: link.n, link: link.link, digest: link.digest)
            return link
        }
    }
}

import API
import AuditProof
import Core
import Foundation
import Gateway

/// The audit record as the API and the pages show it.
package struct AuditDesk: Sendable {
    let gateway: Gateway

    package func entries(_ page: PageRequest) async throws -> AuditEntryList {
        let found = try await gateway.audit.entries(page)
        return AuditEntryList(entries: found.items.map(\.shown), after: found.next)
    }

    package func facts(
        _ principal: Principal, kind: String?, subject: String?, actor: String?, _ page: PageRequest
    ) async throws -> AuditFactList {
        let found = try await gateway.audit.facts(principal, kind: kind, subject: subject, actor: actor, page)
        return AuditFactList(facts: found.items.map(\.shown), after: found.next)
    }

    package func checkpoints(_ page: PageRequest) async throws -> AuditCheckpointList {
        let found = try await gateway.audit.checkpoints(page)
        return AuditCheckpointList(checkpoints: found.items.map(\.shown), after: found.next)
    }

    /// - Parameter anchor: checkpoints that were exported earlier.
    /// - Throws: `badRequest` naming the checkpoint of the anchor that its own key did not sign.
    package func verify(anchor: [AuditCheckpoint]?) async throws -> AuditVerification {
        let report = try await gateway.audit.verify(anchor: try anchor.map(Self.anchor))
        return AuditVerification(
            ok: report.isSound, entries: report.entries, chains: report.chains.map(\.shown), checkpoints: report.checkpoints,
            lastCheckpoint: report.lastCheckpoint?.shown,
            removedByRetention: report.removedByRetention == 0 ? nil : report.removedByRetention,
            problems: report.problems.map {
                AuditProblem(
                    kind: $0.kind.rawValue, chain: $0.chain?.uuidString.lowercased(), n: $0.n, subject: $0.subject,
                    message: $0.message)
            }, moreProblems: report.moreProblems)
    }

    /// That somebody takes the record away is on record itself.
    package func export(_ principal: Principal, requestID: String) async throws -> AuditExport {
        try await gateway.facts.record(principal, kind: "audit.export", subject: "record", ["request_id": requestID])
        return gateway.audit.export
    }

    package func prove(_ principal: Principal, _ id: InterceptionID) async throws -> Data {
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
        return try encoder.encode(try await gateway.prover.prove(principal, id))
    }

    /// The exported form of a checkpoint, as the gateway reads it: one JSON object a line, checked when it is read.
    private static func anchor(_ checkpoints: [AuditCheckpoint]) throws -> AuditAnchor {
        guard !checkpoints.isEmpty else { throw AppError(.badRequest, "The anchor holds no checkpoints.", field: "anchor") }
        struct Line: Encodable {
            var number: Int64
            var body: Data
            var key: String
            var publicKey: Data
            var signature: Data
        }
        let lines = try checkpoints.enumerated().map { index, point in
            guard let publicKey = Data(hex: point.publicKey), let signature = Data(hex: point.signature) else {
                throw AppError(
                    .badRequest, "Checkpoint \(index + 1) of the anchor has no hexadecimal key and signature.", field: "anchor")
            }
            let line = Line(
                number: point.number, body: Data(point.body.utf8), key: point.keyID, publicKey: publicKey, signature: signature)
            return String(decoding: try JSONEncoder().encode(line), as: UTF8.self)
        }
        return try AuditAnchor(text: lines.joined(separator: "\n"))
    }
}

extension AuditLink {
    fileprivate var shown: API.AuditEntry {
        API.AuditEntry(
            chain: chain.uuidString.lowercased(), n: n, kind: kind, subject: subject, digest: digest.hex,
            at: Date(timeIntervalSince1970: Double(at) / 1_000_000))
    }
}

extension RecordedFact {
    fileprivate var shown: AuditFact {
        AuditFact(
            id: id.uuidString.lowercased(), kind: kind, subject: subject, actorID: actor?.description, actor: actorName,
            details: details, at: at)
    }
}

extension Checkpoint {
    fileprivate var shown: AuditCheckpoint {
        AuditCheckpoint(
            number: number, at: at, entries: entries ?? heads.reduce(0) { $0 + $1.n }, digest: digest.hex, signature: signature.hex,
            publicKey: publicKey.hex, keyID: keyID, body: String(decoding: body, as: UTF8.self), heads: heads.map(\.shown))
    }
}

extension Checkpoint.Head {
    fileprivate var shown: AuditChainHead { AuditChainHead(chain: chain.uuidString.lowercased(), n: n, digest: link) }
}

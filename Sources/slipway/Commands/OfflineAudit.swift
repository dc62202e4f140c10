import API
import ArgumentParser
import AuditProof
import Core
import Foundation

/// What is checked from files alone.
enum OfflineAudit {
    static func verify(_ path: String, anchor: [AuditCheckpoint]?, _ connection: Connection) throws {
        guard let file = FileHandle(forReadingAtPath: path) else { throw Failure(.failed, "\(path) cannot be read.") }
        var check = ExportCheck(anchor: try anchor.map { AuditAnchor(try $0.map(checkpoint)) })
        do {
            try lines(of: file) { try check.add(line: $0) }
        } catch let error as AppError {
            throw Failure(.failed, "\(path): \(error.message)", hint: "Write it with: slipway audit export --file FILE")
        }
        let result = shown(check.finish())
        try connection.show(result, text: AuditCommand.Verify.describe)
        if !result.ok { throw ExitCode(Failure.Status.auditProblems.rawValue) }
    }

    static func checkProof(_ path: String, anchor: [AuditCheckpoint]?, _ connection: Connection) throws {
        guard let data = FileManager.default.contents(atPath: path) else { throw Failure(.failed, "\(path) cannot be read.") }
        guard let proof = try? JSONDecoder().decode(AuditProofFile.self, from: data) else {
            throw Failure(.failed, "\(path) holds no proof.", hint: "Write one with: slipway audit prove ID > FILE")
        }
        let trusted = Set(try (anchor ?? []).map { try checkpoint($0).publicKey })
        let verdict = proof.check(trusted: trusted)
        struct Result: Encodable {
            var ok: Bool
            var interception: String
            var problems: [String]
            var proved: [String]
        }
        let result = Result(
            ok: verdict.problems.isEmpty, interception: proof.interception, problems: verdict.problems, proved: verdict.proved)
        try connection.show(result) { result in
            print(
                result.ok
                    ? Terminal.styled("✓ the proof holds: ", .green) + "call \(result.interception)"
                    : Terminal.styled("✗ the proof does not hold: ", .red) + "call \(Terminal.plain(result.interception))")
            for line in result.problems + result.proved { print("  \(Terminal.plain(line))") }
        }
        if !result.ok { throw ExitCode(Failure.Status.auditProblems.rawValue) }
    }

    private static func lines(of file: FileHandle, _ take: (Data) throws -> Void) throws {
        var rest = Data()
        while let piece = try file.read(upToCount: 1 << 20), !piece.isEmpty {
            rest.append(piece)
            while let end = rest.firstIndex(of: UInt8(ascii: "\n")) {
                if end > rest.startIndex { try take(rest[rest.startIndex..<end]) }
                rest = rest[rest.index(after: end)...]
            }
            rest = Data(rest)
        }
        if !rest.isEmpty { try take(rest) }
    }

    private static func checkpoint(_ point: AuditCheckpoint) throws -> Checkpoint {
        guard let publicKey = Data(hex: point.publicKey), let signature = Data(hex: point.signature) else {
            throw Failure(.failed, "Checkpoint \(point.number) of the anchor has no hexadecimal key and signature.")
        }
        let read = Checkpoint(
            number: point.number, body: Data(point.body.utf8), keyID: point.keyID, publicKey: publicKey, signature: signature,
            at: point.at)
        guard read.isGenuine else {
            throw Failure(.failed, "Checkpoint \(point.number) of the anchor is not signed by the key that it names.")
        }
        return read
    }

    private static func shown(_ report: AuditReport) -> AuditVerification {
        AuditVerification(
            ok: report.isSound, entries: report.entries,
            chains: report.chains.map { AuditChainHead(chain: $0.chain.uuidString.lowercased(), n: $0.n, digest: $0.link) },
            checkpoints: report.checkpoints, removedByRetention: report.removedByRetention,
            problems: report.problems.map {
                AuditProblem(
                    kind: $0.kind.rawValue, chain: $0.chain?.uuidString.lowercased(), n: $0.n, subject: $0.subject,
                    message: $0.message)
            }, moreProblems: report.moreProblems)
    }
}

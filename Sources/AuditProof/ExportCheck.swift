import Core
import Foundation

/// Verifies an exported record line by line, without a server and without holding it in memory.
package struct ExportCheck: Sendable {
    package private(set) var report = AuditReport()
    private var checkpoints: CheckpointWalk
    private var walk: ChainWalk?
    private var lines = 0
    private var hasEnded = false
    /// Entries whose rows are not in the file, and what the facts of removals say of their tombstones.
    private var missing: [String: AuditLink] = [:]
    private var removals: [String: String] = [:]

    package init(anchor: AuditAnchor? = nil) { checkpoints = CheckpointWalk(anchor: anchor) }

    /// A line that is not what was exported is a problem of the record, and the next one is read.
    ///
    /// - Throws: `badRequest` for a file that does not begin as a record does: it is something else.
    package mutating func add(line text: Data) throws {
        lines += 1
        guard let line = try? JSONDecoder().decode(ExportLine.self, from: text) else {
            guard lines > 1 else { throw Self.noRecord }
            return report.add(.changed, "Line \(lines) is no line of an exported audit record: it was changed, or cut.")
        }
        if hasEnded { return report.add(.inserted, "Line \(lines) follows the end of the record.") }
        switch (line, lines) {
        case (.header, 1): break
        case (_, 1): throw Self.noRecord
        case (.header, _): report.add(.inserted, "Line \(lines) is a second header.")
        case (.checkpoint(let point), _):
            guard walk == nil else {
                return report.add(.reordered, n: point.number, "Line \(lines) is a checkpoint among the entries.")
            }
            checkpoints.walk(point, &report)
        case (.entry(let link, let record), _): entry(link, record)
        case (.tombstones(let fact, let stones), _): tombstones(fact, stones)
        case (.end(let entries, let points), _): end(entries: entries, points)
        }
    }

    private static let noRecord = AppError(
        .badRequest, "The file does not begin with the header of an exported audit record.")

    /// - Returns: what was found, when all lines were added.
    package mutating func finish() -> AuditReport {
        if !hasEnded { report.add(.removed, "The file has no end: something is missing after line \(lines).") }
        begin()
        walk?.finish(&report)
        checkpoints.finish(&report)
        for link in missing.values.sorted(by: { ($0.chain.uuidString, $0.n) < ($1.chain.uuidString, $1.n) }) {
            report.add(
                .removed, chain: link.chain, n: link.n, subject: link.subject, "The row of \(link.kind) \(link.subject) is missing."
            )
        }
        missing = [:]
        return report
    }

    private mutating func begin() { if walk == nil { walk = ChainWalk(heads: checkpoints.heads) } }

    private mutating func entry(_ link: AuditLink, _ record: AuditRecord?) {
        begin()
        walk?.walk([link], &report)
        guard let record else {
            missing["\(link.kind) \(link.subject)"] = link
            return
        }
        let problem = link.problem(with: record)
        if let problem { report.add(.changed, chain: link.chain, n: link.n, subject: link.subject, problem) }
        if problem == nil, case .text(let kind) = record.values["kind"], kind.hasPrefix("retention."),
            case .text(let body) = record.values["body"]
        {
            let details = try? JSONDecoder().decode([String: String].self, from: Data(body.utf8))
            removals[link.subject] = details?["digest"]
        }
    }

    private mutating func tombstones(_ fact: UUID, _ stones: [Tombstone]) {
        let id = fact.uuidString.lowercased()
        guard removals[id] == Tombstone.digest(stones).hex else {
            report.add(.changed, subject: id, "What retention removed in \(id) is not what it put on record.")
            return
        }
        for stone in stones {
            if stone.what == .content || missing.removeValue(forKey: "\(stone.what.rawValue) \(stone.subject)") != nil {
                report.removedByRetention += 1
            }
        }
    }

    private mutating func end(entries: Int64, _ points: Int64) {
        hasEnded = true
        if entries != report.entries {
            report.add(.removed, "The record was exported with \(entries) entries, and the file has \(report.entries).")
        }
        if points != report.checkpoints {
            report.add(.checkpoint, "The record was exported with \(points) checkpoints, and the file has \(report.checkpoints).")
        }
    }
}

extension AuditLink {
    /// Why a record is not what this entry is about; nil when it is.
    func problem(with record: AuditRecord) -> String? {
        let name = "The row of \(kind) \(subject)"
        guard record.form.hasPrefix(kind.replacing("_", with: "-") + "-"), record.subject == subject else {
            return "\(name) is another one's."
        }
        do {
            return try record.canonical().digest == digest ? nil : "\(name) was changed."
        } catch {
            return "\(name) cannot be read: \((error as? AppError)?.message ?? "\(error)")"
        }
    }
}

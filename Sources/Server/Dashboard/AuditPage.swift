import API
import Core
import Foundation

struct AuditPage: PageView {
    static let template = "audit"

    struct Problem: Sendable {
        var `where`: String
        var text: String
    }

    struct Chain: Sendable {
        var id: String
        var entries: String
        var head: String
    }

    struct Checkpoint: Sendable {
        var number: Int64
        var at: String
        var atIso: String
        var entries: String
        var digest: String
    }

    struct Entry: Sendable {
        var at: String
        var atIso: String
        var kind: String
        var subject: String
        var digest: String
    }

    var frame: PageFrame
    var summary: String
    var tone: String
    var verdict: String
    var hasProblems: Bool
    var problems: [Problem]
    var chains: [Chain]
    var checkpoints: [Checkpoint]
    var entries: [Entry]

    init(
        frame: PageFrame, verification: AuditVerification, checkpoints points: [AuditCheckpoint], entries list: [AuditEntry],
        now: Date
    ) {
        self.frame = frame
        summary =
            "\(PageText.count(Int(verification.entries))) entries, \(PageText.count(Int(verification.checkpoints))) signed checkpoints"
        tone = verification.ok ? "good" : "bad"
        verdict =
            verification.ok
            ? "Every digest was derived again from the live rows, just now, and agrees with the signed record."
            : "The record does not agree with what is stored. Keep the database as it is and look into each line."
        problems = verification.problems.map { problem in
            let place = [problem.kind, problem.chain.map { String($0.prefix(8)) }, problem.n.map { "entry \($0)" }]
            return Problem(where: place.compactMap(\.self).joined(separator: " "), text: problem.message)
        }
        hasProblems = !problems.isEmpty
        chains = verification.chains.map {
            Chain(id: $0.chain, entries: PageText.count(Int($0.n)), head: String($0.digest.prefix(24)))
        }
        checkpoints = points.map {
            Checkpoint(
                number: $0.number, at: PageText.ago($0.at, now: now), atIso: PageText.iso($0.at),
                entries: PageText.count(Int($0.entries)),
                digest: String($0.digest.prefix(24)))
        }
        entries = list.map {
            Entry(
                at: PageText.ago($0.at, now: now), atIso: PageText.iso($0.at), kind: $0.kind, subject: $0.subject,
                digest: String($0.digest.prefix(24)))
        }
    }
}

struct WorkspacesPage: PageView {
    static let template = "workspaces"

    struct Row: Sendable {
        var id: String
        var name: String
        var status: String
        var tone: String
        var owner: String
        var isolation: String
        var reason: String?
        var created: String
        var createdIso: String
        var mayStart: Bool
        var mayStop: Bool
    }

    var frame: PageFrame
    var summary: String
    var any: Bool
    var workspaces: [Row]

    init(frame: PageFrame, list: WorkspaceList, mayChange: Bool, now: Date) {
        self.frame = frame
        workspaces = list.workspaces.map { workspace in
            Row(
                id: workspace.id, name: workspace.name, status: workspace.status,
                tone: workspace.status == "running" ? "good" : Tone.of(workspace.status), owner: workspace.owner,
                isolation: workspace.isolation ?? "", reason: workspace.reason,
                created: PageText.ago(workspace.createdAt, now: now),
                createdIso: PageText.iso(workspace.createdAt),
                mayStart: mayChange && ["stopped", "failed"].contains(workspace.status),
                mayStop: mayChange && workspace.status == "running")
        }
        any = !workspaces.isEmpty
        summary = any ? "\(list.workspaces.count { $0.status == "running" }) running" : ""
    }
}

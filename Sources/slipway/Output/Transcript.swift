import API
import Core
import Foundation

/// Prints a task's events as they come.
struct Transcript {
    /// Lines of a command's output that are shown.
    private let outputLines = 24

    func show(_ event: TaskEvent) {
        Terminal.clearProgress()
        switch event.kind {
        case "user_message":
            print("\n\(Terminal.styled(event.from ?? "you", .bold)): \(Terminal.plain(event.text ?? ""))")
        case "message_queued":
            // The whole of it follows as the agent reads it.
            let text = Text.line(Terminal.plain(event.text ?? ""), limit: 100)
            print(Terminal.styled("· \(event.from ?? "you") sent, to be read before the next step: \(text)", .dim))
        case "text":
            print("\n\(Terminal.plain(event.text ?? ""))")
            if event.isPartial == true { print(Terminal.styled("  (the answer broke off here)", .yellow)) }
        case "thinking":
            for line in Text.excerpt(Terminal.plain(event.text ?? ""), lines: 4) { print(Terminal.styled("  ~ \(line)", .dim)) }
        case "tool_call":
            print("\n\(Terminal.styled("▸ \(event.tool ?? "tool")", .cyan)) \(Self.summary(ofArguments: event.arguments ?? ""))")
        case "tool_result":
            let style: Terminal.Style = event.isError == true || (event.exitCode ?? 0) != 0 ? .red : .dim
            for line in Text.excerpt(Terminal.plain(event.text ?? ""), lines: outputLines) {
                print(Terminal.styled("  \(line)", style))
            }
        case "cost":
            print(Terminal.styled("  step \(event.step ?? 0): \(Text.money(event.costNanoDollars))", .dim))
        case "committed":
            let size = "\(counted(event.changedFiles ?? 0, "file")), +\(event.additions ?? 0) −\(event.deletions ?? 0)"
            print("\n\(Terminal.styled("✓ commit \((event.commit ?? "").prefix(10)) on \(event.branch ?? "")", .green)) (\(size))")
        case "completed":
            print(Terminal.styled("✓ completed", .green))
        case "failed", "step_failed":
            print(Terminal.styled("✗ \(event.text ?? event.reason ?? event.kind)", .red))
        case "paused", "interrupted", "waiting":
            print(Terminal.styled("‖ \(event.kind): \(Terminal.plain(event.text ?? event.reason ?? ""))", .yellow))
        case "step_started", "workspace_ready", "interrupt_requested", "resumed", "remark", "context_pruned":
            let text = event.text.map { ": \(Text.line(Terminal.plain($0), limit: 160))" } ?? ""
            print(Terminal.styled("· \(event.kind.replacing("_", with: " "))\(event.step.map { " \($0)" } ?? "")\(text)", .dim))
        default:
            print(Terminal.styled("· \(event.kind) \(event.text ?? "")", .dim))
        }
    }

    /// `path=src/a.py, offset=3`: one line, long values cut.
    static func summary(ofArguments json: String) -> String {
        guard let object = try? JSONSerialization.jsonObject(with: Data(json.utf8)) as? [String: Any] else {
            return Text.line(Terminal.plain(json), limit: 140)
        }
        if object.count == 1, let only = object.values.first as? String { return Text.line(Terminal.plain(only), limit: 140) }
        return object.sorted { $0.key < $1.key }
            .map { "\($0.key)=\(Text.line(Terminal.plain("\($0.value)"), limit: 50))" }
            .joined(separator: ", ")
    }
}

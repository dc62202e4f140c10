import API
import Core
import Foundation

/// One event of a task's transcript as a page shows it.
struct TaskEventView: Sendable {
    static let template = "task-event"

    var sequence: Int64
    var kind: String
    var tone = ""
    var isUser = false
    var isText = false
    var isThinking = false
    /// The answer broke off there.
    var isPartial = false
    var isCall = false
    var isResult = false
    var isNote = false
    var open = false
    var from = ""
    var text = ""
    var tool = ""
    var summary = ""
    var arguments = ""
    var output = ""
    var detail: String?

    init(_ event: TaskEvent) {
        sequence = event.sequence
        isPartial = event.isPartial == true
        kind = event.kind.replacing("_", with: "-")
        switch event.kind {
        case "user_message", "message_queued":
            isUser = true
            from = event.kind == "message_queued" ? "\(event.from ?? "you"), to be read before the next step" : event.from ?? "you"
            text = event.text ?? ""
        case "text":
            isText = true
            text = event.text ?? ""
        case "thinking":
            isThinking = true
            text = event.text ?? ""
        case "tool_call":
            isCall = true
            tool = event.tool ?? "tool"
            summary = Self.summary(ofArguments: event.arguments ?? "")
            arguments = PageText.excerpt(PageText.prettyJSON(event.arguments ?? ""))
        case "tool_result":
            isResult = true
            tone = event.isError == true || (event.exitCode ?? 0) != 0 ? "bad" : ""
            output = PageText.excerpt(event.text ?? "")
            summary = Self.summary(ofResult: event)
            open = tone == "bad" || output.utf8.count < 1500
        default:
            isNote = true
            (text, tone, detail) = Self.note(event)
        }
    }

    /// One line that says what a call does: its only argument, or the ones that name something.
    private static func summary(ofArguments json: String) -> String {
        guard let object = try? JSONSerialization.jsonObject(with: Data(json.utf8)) as? [String: Any] else {
            return PageText.line(json)
        }
        for name in ["command", "path", "pattern", "process_id"] {
            if let value = object[name] { return PageText.line("\(value)", limit: 140) }
        }
        return object.keys.sorted().joined(separator: ", ")
    }

    private static func summary(ofResult event: TaskEvent) -> String {
        var parts: [String] = []
        if let code = event.exitCode { parts.append("exit code \(code)") }
        if event.isError == true { parts.append("error") }
        if let milliseconds = event.milliseconds {
            parts.append(
                milliseconds < 1000
                    ? "\(milliseconds) ms" : "\((Double(milliseconds) / 1000).formatted(.number.precision(.fractionLength(1)))) s")
        }
        let first = PageText.line(event.text ?? "", limit: 100)
        return parts.isEmpty ? (first.isEmpty ? "done" : first) : parts.joined(separator: ", ")
    }

    /// (what happened, its tone, more about it)
    private static func note(_ event: TaskEvent) -> (String, String, String?) {
        switch event.kind {
        case "step_started":
            return ("Step \(event.step ?? 0)", "", event.model)
        case "cost":
            let total = event.totalCostNanoDollars.map { "\(NanoDollars($0)) in all" }
            return ("Cost \(NanoDollars(event.costNanoDollars ?? 0))\(total == nil ? "" : ",")", "", total)
        case "workspace_ready":
            return ("The workspace is ready", "", event.text)
        case "committed":
            let size = "\(counted(event.changedFiles ?? 0, "file")), +\(event.additions ?? 0) −\(event.deletions ?? 0)"
            return ("Commit \((event.commit ?? "").prefix(10)) on \(event.branch ?? "")", "good", size)
        // Its text is the last answer, which stands above.
        case "completed": return ("Completed", "good", nil)
        case "interrupt_requested": return ("Interrupt requested", "", event.from.map { "by \($0)" })
        case "resumed": return ("Resumed", "", event.from.map { "by \($0)" })
        case "failed", "step_failed": return (event.text ?? event.reason ?? "Failed", "bad", nil)
        case "paused", "interrupted", "waiting":
            return (event.kind.prefix(1).uppercased() + event.kind.dropFirst(), "warn", event.text ?? event.reason)
        default:
            let name = event.kind.replacing("_", with: " ")
            return (name.prefix(1).uppercased() + name.dropFirst(), "", event.text ?? event.from)
        }
    }
}

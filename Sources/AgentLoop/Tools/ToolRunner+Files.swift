import Core
import Foundation

extension ToolRunner {
    /// Files up to here are read whole; of larger ones only the beginning is seen.
    private static let largestRead = 8 << 20
    private static let largestEdit = 4 << 20
    private static let partBytes = 1 << 20

    func readFile(_ path: String, offset: Int, limit: Int) async throws -> String {
        let (data, size) = try await content(of: path, atMost: Self.largestRead)
        if data.prefix(8000).contains(0) { return "[\(path) is a binary file of \(size) bytes.]" }
        let text = String(decoding: data, as: UTF8.self)
        return FilePart.text(of: text, offset: offset, limit: limit, isWhole: data.count == size)
    }

    private func content(of path: String, atMost limit: Int) async throws -> (data: Data, size: Int) {
        let path = resolved(path)
        var part = try await tools.read(path, offset: 0, limit: min(limit, Self.partBytes))
        var data = part.data
        while data.count < min(part.size, limit), !part.data.isEmpty {
            part = try await tools.read(path, offset: data.count, limit: min(limit - data.count, Self.partBytes))
            data += part.data
        }
        return (data, max(part.size, data.count))
    }

    func listFiles(_ path: String?, depth: Int) async throws -> String {
        let list = try await tools.list(resolved(path), depth: depth, limit: 1000)
        let lines = list.items.filter { $0.path != ".git" && !$0.path.hasPrefix(".git/") }
            .map { $0.isFolder ? $0.path + "/" : $0.path }.sorted()
        if lines.isEmpty { return "[The folder is empty.]" }
        return lines.joined(separator: "\n") + (list.isCut ? "\n[There are more; list a folder of it, or search.]" : "")
    }

    func search(_ pattern: String, path: String?, glob: String?, limit: Int) async throws -> String {
        let found = try await tools.search(pattern: pattern, path: resolved(path), glob: glob, limit: limit)
        if found.items.isEmpty { return "[No line matches.]" }
        let lines = found.items.map { hit in
            let path = hit.path.hasPrefix(directory + "/") ? String(hit.path.dropFirst(directory.count + 1)) : hit.path
            let text = hit.text.count > 300 ? hit.text.prefix(300) + "…" : hit.text[...]
            return "\(path):\(hit.line): \(PlainOutput.text(of: text.utf8))"
        }
        return lines.joined(separator: "\n") + (found.isCut ? "\n[More than \(limit) lines match; only these are shown.]" : "")
    }

    // MARK: Effects

    func writeFile(_ call: TaskSnapshot.Call, _ path: String, _ content: String, _ stop: CallStopBox) async throws -> CallOutcome {
        let data = Data(content.utf8)
        let lines = content.isEmpty ? 0 : content.linesByLF.count - (content.hasSuffix("\n") ? 1 : 0)
        let done = result(call, "Wrote \(path): \(lines) lines, \(data.count) bytes.", isChange: true)
        return .result(try await write(call, path, data, done, stop))
    }

    func editFile(_ call: TaskSnapshot.Call, _ path: String, _ edit: TextEdit, _ stop: CallStopBox) async throws -> CallOutcome {
        let (data, size) = try await stop.waiting { try await content(of: path, atMost: Self.largestEdit + 1) }
        // An earlier owner got as far as preparing it: the file tells whether it also wrote it.
        if let prepared = call.prepared, PreparedEdit.hash(data) == prepared.after {
            return .result(result(call, prepared.text, isChange: true))
        }
        if let prepared = call.prepared, PreparedEdit.hash(data) != prepared.before {
            return .result(unknown(call, "the file has changed since it was prepared"))
        }
        guard size <= Self.largestEdit else {
            return .result(
                result(call, "\(path) has \(size) bytes; edit_file takes at most \(Self.largestEdit). Use execute.", isError: true))
        }
        guard let text = String(data: data, encoding: .utf8) else {
            return .result(result(call, "\(path) is not UTF-8 text, so edit_file would damage it. Use execute.", isError: true))
        }
        let edited: EditedText
        do { edited = try edit.apply(to: text) } catch {
            return .result(result(call, "\(path) was not changed. \(error.message)", isError: true))
        }
        let after = Data(edited.text.utf8)
        let prepared = PreparedEdit(
            before: PreparedEdit.hash(data), after: PreparedEdit.hash(after), text: Self.describe(edited, path))
        if call.prepared == nil { try await prepare(call.number, prepared) }
        return .result(try await write(call, path, after, result(call, prepared.text, isChange: true), stop))
    }

    /// When nobody knows whether the write was made, the file itself is asked.
    private func write(
        _ call: TaskSnapshot.Call, _ path: String, _ data: Data, _ done: CallResult, _ stop: CallStopBox
    ) async throws -> CallResult {
        let effect = Effect(call: call.id, fence: fence)
        let path = resolved(path)
        do {
            switch try await stop.waiting({ try await tools.write(path, data, effect: effect) }) {
            case .done: return done
            case .unknown(let why):
                let (present, _) = try await content(of: path, atMost: data.count + 1)
                return present == data ? done : unknown(call, why)
            }
        } catch is CancellationError {
            // It may have been made: nobody heard the answer.
            switch stop.stop {
            case .kill: return unknown(call, "the user interrupted the task while the file was being written")
            case .detach: return unknown(call, "the task reached its time limit while the file was being written")
            case .abandon, nil: throw CancellationError()
            }
        }
    }

    private static func describe(_ edited: EditedText, _ path: String) -> String {
        let lines = edited.text.linesByLF
        let from = max(1, edited.changedLines.lowerBound - 2)
        let to = min(lines.count, max(edited.changedLines.upperBound, edited.changedLines.lowerBound) + 1, from + 40)
        let snippet = from <= to ? (from...to).map { "\($0)\t\(lines[$0 - 1].prefix(300))" }.joined(separator: "\n") : ""
        let count = edited.replacements == 1 ? "" : " in \(edited.replacements) places"
        let remark = edited.rule.remark.map { " (\($0))" } ?? ""
        return "Edited \(path)\(count)\(remark). It now reads:\n\(snippet)"
    }
}

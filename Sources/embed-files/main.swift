// Writes every file below a folder into one Swift file of raw string literals: `embed-files FOLDER OUTPUT`.
import Foundation

guard CommandLine.arguments.count == 3 else {
    FileHandle.standardError.write(Data("usage: embed-files FOLDER OUTPUT\n".utf8))
    exit(2)
}
let root = URL(fileURLWithPath: CommandLine.arguments[1]).standardizedFileURL
let output = URL(fileURLWithPath: CommandLine.arguments[2])

/// More `#` than any run of them after a quote in the text, so that the literal cannot end early.
func hashes(for text: String) -> String {
    var longest = 0
    var run = 0
    for character in text.utf8 {
        run = character == UInt8(ascii: "#") ? run + 1 : 0
        longest = max(longest, run)
    }
    return String(repeating: "#", count: longest + 1)
}

var entries: [String] = []
let names = (FileManager.default.enumerator(atPath: root.path)?.compactMap { $0 as? String } ?? []).sorted()
for name in names where !name.hasPrefix(".") && !name.contains("__pycache__/") {
    let file = root.appendingPathComponent(name)
    var isFolder: ObjCBool = false
    guard FileManager.default.fileExists(atPath: file.path, isDirectory: &isFolder), !isFolder.boolValue else { continue }
    let text = try String(contentsOf: file, encoding: .utf8)
    let fence = hashes(for: text)
    entries.append("        \"\(name)\": \(fence)\"\"\"\n\(text)\n\"\"\"\(fence),")
}
let body = entries.isEmpty ? "[:]" : "[\n" + entries.joined(separator: "\n") + "\n    ]"
let source = """
    /// The files of `\(root.lastPathComponent)/` by path below it, as they were when this was built.
    enum Embedded {
        static let files: [String: String] = \(body)
    }

    """
try source.write(to: output, atomically: true, encoding: .utf8)

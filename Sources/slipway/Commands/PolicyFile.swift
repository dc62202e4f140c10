import Core
import Foundation
import Policies

/// A file of policies or of cases on this machine.
struct PolicyFile {
    var path: String
    var text: String

    /// - Parameter path: `-` is standard input.
    init(_ path: String) throws {
        self.path = path
        let data = path == "-" ? FileHandle.standardInput.readDataToEndOfFile() : FileManager.default.contents(atPath: path)
        guard let data, let text = String(data: data, encoding: .utf8) else {
            throw Failure(.failed, "\(path) cannot be read, or is no text.")
        }
        self.text = text
    }

    /// Files, and all `*.yaml` of folders.
    ///
    /// - Throws: for a folder without any, and for what is named twice.
    static func all(_ paths: [String]) throws -> [PolicyFile] {
        let files = try paths.flatMap { path -> [PolicyFile] in
            var isFolder: ObjCBool = false
            guard path != "-", FileManager.default.fileExists(atPath: path, isDirectory: &isFolder), isFolder.boolValue else {
                return [try PolicyFile(path)]
            }
            let names = try FileManager.default.contentsOfDirectory(atPath: path).filter { $0.hasSuffix(".yaml") }.sorted()
            guard !names.isEmpty else {
                throw Failure(.failed, "No policy was found in the folder \(path): it has no file whose name ends in .yaml.")
            }
            return try names.map { try PolicyFile("\(path)/\($0)") }
        }
        var seen: Set<String> = []
        for file in files where !seen.insert(file.identity).inserted {
            throw Failure(.failed, "\(file.path) is given twice.")
        }
        return files
    }

    /// The same for all paths of the file.
    private var identity: String { path == "-" ? path : URL(fileURLWithPath: path).resolvingSymlinksInPath().path }

    /// Every problem by file, line and column, as compilers say it.
    func read() throws -> PolicyObject {
        do throws(PolicyFileError) { return try PolicyReader.read(text) } catch { throw failure(error) }
    }

    func failure(_ error: PolicyFileError) -> Failure {
        let lines = error.problems.map { "\(path):\($0.line):\($0.column): \($0.message)" }
        return Failure(.failed, "\(path) is not valid:\n  " + lines.joined(separator: "\n  "))
    }
}

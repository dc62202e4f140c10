import Core
import Foundation

/// The name of this machine's share of the state (its sandboxes), kept in the data directory.
enum HostID {
    static func load(_ dataDirectory: String) throws -> String {
        let file = dataDirectory + "/host-id"
        if let text = try? String(contentsOfFile: file, encoding: .utf8),
            let id = UUID(uuidString: text.trimmingCharacters(in: .whitespacesAndNewlines))
        {
            return id.uuidString.lowercased()
        }
        let id = UUID().uuidString.lowercased()
        try PrivateFile.create(file, text: id + "\n")
        return id
    }
}

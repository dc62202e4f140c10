import Foundation

/// Where the client is signed in: `login.json` in `$SLIPWAY_CONFIG_DIR`, `$XDG_CONFIG_HOME/slipway` or `~/.config/slipway`, mode 0600.
struct StoredLogin: Codable {
    var url: String
    var username: String
    var token: String
    /// The authority of a server whose certificate the system does not trust.
    var caFile: String?

    static var environmentCAFile: String? {
        ProcessInfo.processInfo.environment["SLIPWAY_CA_FILE"].flatMap { $0.isEmpty ? nil : $0 }
    }

    static var folder: URL {
        let environment = ProcessInfo.processInfo.environment
        if let own = environment["SLIPWAY_CONFIG_DIR"], !own.isEmpty { return URL(fileURLWithPath: own) }
        if let base = environment["XDG_CONFIG_HOME"], !base.isEmpty { return URL(fileURLWithPath: base).appending(path: "slipway") }
        return FileManager.default.homeDirectoryForCurrentUser.appending(path: ".config/slipway")
    }

    private static var file: URL { folder.appending(path: "login.json") }

    static func load() throws -> StoredLogin? {
        guard let data = try? Data(contentsOf: file) else { return nil }
        do {
            return try JSONDecoder().decode(StoredLogin.self, from: data)
        } catch {
            throw Failure(.failed, "\(file.path) is damaged.", hint: "Remove it and sign in again with 'slipway login URL'.")
        }
    }

    func save() throws {
        do {
            try FileManager.default.createDirectory(
                at: Self.folder, withIntermediateDirectories: true, attributes: [.posixPermissions: 0o700])
            // Made with its mode, so that the token is never readable by others.
            let fresh = Self.folder.appending(path: ".login-\(UUID().uuidString)")
            guard
                FileManager.default.createFile(
                    atPath: fresh.path, contents: try JSONEncoder().encode(self), attributes: [.posixPermissions: 0o600])
            else { throw CocoaError(.fileWriteUnknown) }
            guard rename(fresh.path, Self.file.path) == 0 else { throw CocoaError(.fileWriteUnknown) }
        } catch {
            throw Failure(.failed, "The login could not be saved in \(Self.folder.path): \(error.localizedDescription)")
        }
    }

    static func remove() { try? FileManager.default.removeItem(at: file) }
}

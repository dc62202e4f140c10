import Core
import Foundation

/// `slipway-server keys add`: puts a new random key into the file of the key ring, first, so that it encrypts from the next start on.
package struct KeyFileCommand {
    package static let help = """
        slipway-server keys: changes the file of the key ring.

        USAGE: slipway-server keys add [--id ID] [--last] [options of slipway-server]

        Writes a new key into the ring named by --keys-file, else into 'keys' in the data directory (made if it is missing), and
        replaces the file at once, mode 0600, with the same owner. The new key comes first: it encrypts what is written by servers
        that are started afterwards. Then: restart every server, run 'slipway keys rotate'.

          --id ID    the key's name (default: the next free of k1, k2, …)
          --last     adds it as the last key, which only decrypts: the first of two steps where servers have ring files of their own

        """

    var id: String?
    var isLast = false
    var rest: [String] = []

    /// - Returns: the exit status.
    package static func main(arguments: [String], environment: [String: String]) -> Int32 {
        do {
            if arguments.isEmpty || arguments.contains("--help") || arguments.contains("-h") {
                print(help, terminator: "")
                return arguments.isEmpty ? 78 : 0
            }
            let configuration: Configuration
            var command = KeyFileCommand()
            try command.read(arguments)
            configuration = try ConfigurationLoader(arguments: command.rest, environment: environment).load()
            print(try command.run(configuration))
            return 0
        } catch {
            let message = (error as? AppError)?.message ?? "\(error)"
            FileHandle.standardError.write(Data("slipway-server: \(message)\n".utf8))
            return (error as? AppError)?.code == .badRequest ? 78 : 1
        }
    }

    private mutating func read(_ arguments: [String]) throws {
        guard arguments.first == "add" else {
            throw AppError(.badRequest, "'\(arguments.first ?? "")' is not understood: there is 'slipway-server keys add'.")
        }
        var words = arguments.dropFirst()
        while let word = words.popFirst() {
            switch word {
            case "--last": isLast = true
            case "--id":
                id = words.popFirst()
                guard let id, Self.isName(id) else {
                    throw AppError(.badRequest, "--id must be 1 to 32 letters, digits, '-' or '_'.", field: "id")
                }
            default: rest.append(word)
            }
        }
    }

    private static func isName(_ id: String) -> Bool {
        (1...32).contains(id.utf8.count)
            && id.utf8.allSatisfy { byte in
                (48...57).contains(byte) || (65...90).contains(byte) || (97...122).contains(byte) || byte == 45 || byte == 95
            }
    }

    /// - Returns: what to do next.
    func run(_ configuration: Configuration) throws -> String {
        guard configuration.keys == nil else {
            throw AppError(.badRequest, "The key ring comes from SLIPWAY_KEYS: change that variable instead.", field: "keys")
        }
        try DataDirectory.make(configuration.dataDirectory)
        let file = KeyRingSource.file(configuration)
        let exists = FileManager.default.fileExists(atPath: file)
        let text = exists ? try KeyRingSource.text(configuration) : ""
        let ids = exists ? try KeyRingSource.load(configuration).ids : []
        let id = try name(among: ids)
        let line = KeyRing.generatedText(id: id)
        let before = text.isEmpty || text.hasSuffix("\n") ? text : text + "\n"
        try PrivateFile.replace(file, text: isLast ? before + line : line + before)
        return isLast && exists
            ? "The key '\(id)' was added to \(file) as the last one. Restart every server; then it can be moved to the first line."
            : "The key '\(id)' is the first of \(file). Restart every server, then run 'slipway keys rotate'."
    }

    private func name(among ids: [String]) throws -> String {
        if let id {
            guard !ids.contains(id) else {
                throw AppError(.badRequest, "The ring has a key '\(id)' already; choose another --id.", field: "id")
            }
            return id
        }
        return (1...).lazy.map { "k\($0)" }.first { !ids.contains($0) } ?? "k1"
    }
}

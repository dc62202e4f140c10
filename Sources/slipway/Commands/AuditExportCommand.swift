import API
import ArgumentParser
import Foundation

extension AuditCommand {
    struct Export: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "The whole record as JSON lines: checkpoints, entries, and the rows that they are about.",
            discussion: """
                No content is in it, only hashes of it. Verify it anywhere, without a server: slipway audit verify --file FILE
                """)
        @OptionGroup var connection: Connection
        @Option(help: "The file to write. Default: standard output.") var file: String?

        func run() async throws {
            try await reporting {
                let out: FileHandle
                if let file {
                    guard FileManager.default.createFile(atPath: file, contents: nil, attributes: [.posixPermissions: 0o600]),
                        let handle = FileHandle(forWritingAtPath: file)
                    else { throw Failure(.failed, "\(file) cannot be written.") }
                    out = handle
                } else {
                    out = .standardOutput
                }
                try await connection.client().download(APIPaths.audit + "/export") { try out.write(contentsOf: $0) }
            }
        }
    }

    struct Prove: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "A proof that one call is on record as it says, for somebody without access.",
            discussion: "It holds the call's rows (no content), the entries up to the next signed checkpoint, and that checkpoint.")
        @OptionGroup var connection: Connection
        @Argument(help: "Id of the call.") var id: String

        func run() async throws {
            try await reporting {
                try await connection.client().download("\(APIPaths.audit)/prove/\(APIClient.escape(id))") {
                    try FileHandle.standardOutput.write(contentsOf: $0)
                }
                print("")
            }
        }
    }

    struct CheckProof: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            commandName: "check-proof", abstract: "Check a proof, without a server.",
            discussion: "With --anchor FILE (checkpoints kept from earlier) only keys that are in there are believed.")
        @OptionGroup var connection: Connection
        @Argument(help: "File with what 'slipway audit prove' wrote.") var file: String
        @Option(help: "File with checkpoints that were exported earlier.") var anchor: String?

        func run() async throws {
            try await reporting { try OfflineAudit.checkProof(file, anchor: try anchor.map(Verify.read), connection) }
        }
    }
}

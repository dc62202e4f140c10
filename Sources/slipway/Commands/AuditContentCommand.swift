import API
import ArgumentParser
import Foundation

extension AuditCommand {
    struct Content: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "What a model call asked, or was answered, byte for byte.",
            discussion: """
                The whole body: system prompt, tools and all earlier turns of a request, the events of a streamed answer. Reading what others \
                said is put on record.
                """)
        @OptionGroup var connection: Connection
        @Argument(help: "Id of the call.") var id: String
        @Argument(help: "'request' or 'answer'.") var part = "request"

        func run() async throws {
            try await reporting {
                let path = "\(APIPaths.interceptions)/\(APIClient.escape(id))/content/\(APIClient.escape(part))"
                var bytes = Data()
                try await connection.client().download(path) { bytes.append($0) }
                // A terminal would obey what is in there.
                if isatty(STDOUT_FILENO) == 1 { return print(Terminal.plain(String(decoding: bytes, as: UTF8.self))) }
                try FileHandle.standardOutput.write(contentsOf: bytes)
            }
        }
    }
}

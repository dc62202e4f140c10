import API
import ArgumentParser

extension AuditCommand {
    struct Sinks: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Where audit entries are sent as they are made.", subcommands: [List.self, Add.self, Remove.self, Test.self],
            defaultSubcommand: List.self)

        struct List: AsyncParsableCommand {
            static let configuration = CommandConfiguration(abstract: "All sinks, and whether they take what is sent.")
            @OptionGroup var connection: Connection

            func run() async throws {
                try await reporting {
                    let list: AuditSinkList = try await connection.client().get(APIPaths.audit + "/sinks")
                    try connection.show(list) { list in
                        var table = Table("name", "url", "delivered", "state")
                        for sink in list.sinks {
                            let state = sink.failures == 0 ? "fine" : "failed \(sink.failures) times: \(sink.lastError ?? "")"
                            table.add(sink.name, sink.url, sink.deliveredAt.map(Text.time) ?? "never", state)
                        }
                        table.show(ifEmpty: "No sink.")
                    }
                }
            }
        }

        struct Add: AsyncParsableCommand {
            static let configuration = CommandConfiguration(
                abstract: "Send every entry from now on to a webhook or to syslog.",
                discussion: """
                    An address is https://… (signed with HMAC-SHA256; the secret is shown once), syslog+tcp://host:port or
                    syslog+udp://host:port (RFC 5424). What a sink did not take is sent again, in order and without a gap.
                    """)
            @OptionGroup var connection: Connection
            @Argument(help: "A name for it.") var name: String
            @Argument(help: "Its address.") var url: String
            @Flag(help: "It may be at a private address.") var allowPrivate = false
            @Flag(help: "Send also what is on record already.") var fromStart = false

            func run() async throws {
                try await reporting {
                    let sink: AuditSink = try await connection.client().post(
                        APIPaths.audit + "/sinks",
                        AddAuditSinkRequest(name: name, url: url, allowPrivate: allowPrivate, fromStart: fromStart))
                    try connection.show(sink) { sink in
                        print("Entries go to \(sink.url).")
                        if let secret = sink.secret, sink.url.hasPrefix("http") { print("Secret: \(secret)") }
                    }
                }
            }
        }

        struct Remove: AsyncParsableCommand {
            static let configuration = CommandConfiguration(abstract: "Send nothing more to it.")
            @OptionGroup var connection: Connection
            @Argument(help: "Its name.") var name: String

            func run() async throws {
                try await reporting {
                    try await connection.client().send("DELETE", "\(APIPaths.audit)/sinks/\(APIClient.escape(name))")
                    try connection.done("Removed \(name).")
                }
            }
        }

        struct Test: AsyncParsableCommand {
            static let configuration = CommandConfiguration(abstract: "Send it one line that says it is a test.")
            @OptionGroup var connection: Connection
            @Argument(help: "Its name.") var name: String

            func run() async throws {
                try await reporting {
                    try await connection.client().send("POST", "\(APIPaths.audit)/sinks/\(APIClient.escape(name))/test")
                    try connection.done("\(name) took it.")
                }
            }
        }
    }
}

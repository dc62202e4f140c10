import API
import ArgumentParser

struct KeysCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "keys", abstract: "The key ring that encrypts stored secrets ('slipway-server keys add' makes a key).",
        subcommands: [List.self, Rotate.self], defaultSubcommand: List.self)

    struct List: AsyncParsableCommand {
        static let configuration = CommandConfiguration(abstract: "The keys, and how many stored secrets each encrypts.")
        @OptionGroup var connection: Connection

        func run() async throws {
            try await reporting {
                let list: EncryptionKeyList = try await connection.client().get(APIPaths.keys)
                try connection.show(list) { list in
                    var table = Table("key", "#secrets", "state")
                    for key in list.keys {
                        let state =
                            !key.isInRing
                            ? "missing from the ring"
                            : key.isFirst ? "encrypts new secrets" : key.values == 0 ? "no longer needed" : "decrypts"
                        table.add(key.id, "\(key.values)", state)
                    }
                    table.show(ifEmpty: "No keys.")
                }
            }
        }
    }

    struct Rotate: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Encrypt every stored secret with the first key of the ring.",
            discussion: "Servers keep running. When it is interrupted, run it again: it goes on where it stopped.")
        @OptionGroup var connection: Connection

        func run() async throws {
            try await reporting {
                let client = try connection.client()
                var total = 0
                while true {
                    let part: KeyRotation = try await client.post(APIPaths.keys + "/rotate", [String: String]())
                    total += part.rotated
                    if part.remaining == 0 || part.rotated == 0 {
                        var whole = part
                        whole.rotated = total
                        try connection.show(whole, text: describe)
                        if part.remaining > 0 { throw ExitCode.failure }
                        return
                    }
                    Terminal.note("\(total) secrets encrypted with '\(part.key)', \(part.remaining) to go")
                }
            }
        }

        private func describe(_ done: KeyRotation) {
            print("\(done.rotated) secrets were encrypted with '\(done.key)'.")
            if done.remaining > 0 {
                print("\(done.remaining) could not be: they are being changed at this moment. Run it again.")
            } else {
                print("Every stored secret is: older keys can be taken out of the ring, and the servers restarted.")
            }
        }
    }
}

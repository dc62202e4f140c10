import Foundation
import Testing

/// Commands of the client that documents show and that messages tell people to type.
@Suite struct CommandTests {
    private struct Mention: Hashable {
        /// Words after `slipway` up to the first that is no plain word.
        var words: [String]
        var flags: Set<String>
        var place: String
    }

    /// Reads `slipway audit verify --anchor FILE`.
    private static func mention(_ text: Substring, _ place: String) -> Mention? {
        var words: [String] = []
        var flags: Set<String> = []
        var isName = true
        for word in text.split(separator: " ") {
            let word = word.last == "." ? word.dropLast() : word
            if word == "--" || "|>&;#".contains(word.first ?? " ") { break }
            if word.hasPrefix("--") {
                flags.insert(String(word.prefix { $0 != "=" && $0 != "," && $0 != "." && $0 != ";" }))
                isName = false
            } else if isName, word.allSatisfy({ ($0.isASCII && $0.isLowercase) || $0 == "-" }) {
                words.append(String(word))
            } else {
                isName = false
            }
        }
        guard let first = words.first, first != "server" else { return nil }
        return Mention(words: words, flags: flags, place: place)
    }

    private static func mentions(in document: Markdown) -> [Mention] {
        var found = document.codeSpans.filter { $0.text.hasPrefix("slipway ") }
            .compactMap { mention($0.text.dropFirst(8), "\(document.path):\($0.line)") }
        for block in document.blocks where block.info != "text" {
            for (index, line) in block.text.split(separator: "\n", omittingEmptySubsequences: false).enumerated() {
                for match in line.matches(of: /(?:^|[\s(;|])slipway (.+)/) {
                    if let mention = mention(match.1, "\(document.path):\(block.line + index + 1)") { found.append(mention) }
                }
            }
        }
        return found
    }

    /// What `--help` says of a command; nil when there is no such command. `words` may end in arguments.
    private static func help(_ words: [String]) async throws -> String? {
        for count in stride(from: min(3, words.count), through: 1, by: -1) {
            let outcome = try await Programs.run(Programs.folder + "/slipway", ["help"] + words.prefix(count))
            guard outcome.status == 0, let usage = outcome.text.firstMatch(of: /USAGE: slipway ([a-z]+) ?([a-z-]*) ?([a-z-]*)/)
            else {
                continue
            }
            guard usage.1 == words[0] else { continue }
            if count >= 2, usage.2 != words[1] { continue }
            if count == 3, usage.3 != words[2] { continue }
            // A word that is no subcommand is an argument, which a command with subcommands does not take.
            if words.count > count, outcome.text.contains("SUBCOMMANDS:") { return nil }
            return outcome.text
        }
        return nil
    }

    private func check(_ mentions: [Mention]) async throws {
        var known: [[String]: String?] = [:]
        for mention in mentions {
            let words = Array(mention.words.prefix(3))
            let help: String?
            if let seen = known[words] {
                help = seen
            } else {
                help = try await Self.help(words)
                known[words] = .some(help)
            }
            guard let help else {
                Issue.record("\(mention.place): there is no command 'slipway \(words.joined(separator: " "))'")
                continue
            }
            for flag in mention.flags where flag != "--help" {
                #expect(help.contains(flag), "\(mention.place): 'slipway \(words.joined(separator: " "))' has no \(flag)")
            }
        }
    }

    @Test func `every command of the client that a document shows exists, with its flags`() async throws {
        let mentions = try Repository.documents.flatMap(Self.mentions)
        #expect(mentions.count > 40)
        try await check(mentions)
    }

    @Test func `every command of the client that a message tells people to type exists, with its flags`() async throws {
        var mentions: [Mention] = []
        let command =
            /slipway ((?:login|users|groups|policy|tokens|keys|providers|models|routes|mcp|budget|limits|task|workspace|usage|audit)\b[^"'`,;:)]*)/
        for (path, text) in try Repository.sources("Sources") {
            for (index, line) in text.split(separator: "\n", omittingEmptySubsequences: false).enumerated()
            where line.contains("\"") {
                // What is interpolated is an argument.
                let line = line.replacing(/\\\([^()]*(?:\([^()]*\))?[^()]*\)/, with: "VALUE")
                for match in line.matches(of: command) {
                    let before = line[..<match.range.lowerBound]
                    guard before.contains("\""), !before.drop(while: { $0 == " " }).hasPrefix("//") else { continue }
                    if let mention = Self.mention(match.1, "\(path):\(index + 1)") { mentions.append(mention) }
                }
            }
        }
        #expect(mentions.count > 10)
        try await check(mentions)
    }
}

import Foundation
import Testing

@testable import Server

@Suite struct OptionTests {
    private static let page = "docs/operators.md"

    /// `--name` in the first column of the table below "Options"; what may only be a variable stands there as that.
    private static func documented() throws -> [String] {
        let lines = try Repository.text(page).split(separator: "\n")
        let table = lines.drop { $0 != "## Options" }.drop { !$0.hasPrefix("| ---") }.dropFirst().prefix { $0.hasPrefix("|") }
        return table.flatMap { row in
            row.dropFirst().prefix(while: { $0 != "|" }).isEmpty
                ? [] : firstCell(row).matches(of: /`(--[a-z-]+|SLIPWAY_[A-Z_]+)/).map { String($0.1) }
        }
    }

    /// Up to the first bar that does not follow a backslash.
    private static func firstCell(_ row: Substring) -> String {
        let cells = row.replacing("\\|", with: "/").split(separator: "|", omittingEmptySubsequences: false)
        return cells.count > 1 ? String(cells[1]) : ""
    }

    @Test func `the table of options names exactly those that the configuration knows`() throws {
        let known = ConfigurationOption.all.map { $0.environmentOnly ? $0.variable : "--\($0.name)" } + ["--config"]
        let documented = try Self.documented()
        #expect(documented.count == Set(documented).count, "an option stands in the table twice")
        #expect(Set(known).subtracting(documented) == [], "not in \(Self.page)")
        #expect(Set(documented).subtracting(known) == [], "in \(Self.page) but unknown to the server")
    }

    @Test func `a switch has no value in the table and every other option has one`() throws {
        let text = try Repository.text(Self.page)
        for option in ConfigurationOption.all where !option.environmentOnly {
            let isSwitch = text.contains("`--\(option.name)`")
            let hasValue = text.contains("| `--\(option.name) ") || text.contains(", `--\(option.name) ")
            #expect(hasValue == (option.placeholder != nil), "--\(option.name)")
            #expect(option.placeholder != nil || isSwitch, "--\(option.name)")
        }
    }

    @Test func `defaults in the table are those of the configuration`() throws {
        let text = try Repository.text(Self.page)
        let configuration = try ConfigurationLoader(arguments: [], environment: ["HOME": "/home/someone"]).load()
        #expect(text.contains("| `--listen HOST:PORT` | `\(configuration.listen)` |"))
        #expect(text.contains("| `--postgres-connections N` | \(configuration.postgresConnections) |"))
        #expect(text.contains("| `--log-level LEVEL` | `\(configuration.logLevel)` |"))
        #expect(text.contains("| `--grace TIME` | `\(configuration.grace.components.seconds)s` |"))
    }

    @Test func `the YAML that is shown is a configuration`() throws {
        let blocks = try Repository.markdown(Self.page).blocks.filter { $0.info == "yaml" }
        #expect(!blocks.isEmpty)
        for block in blocks {
            let loader = ConfigurationLoader(
                arguments: ["--config", "shown.yaml"], environment: [:], readFile: { _ in block.text })
            let configuration = try loader.load()
            #expect(configuration != (try ConfigurationLoader(arguments: [], environment: [:]).load()))
        }
    }

    @Test func `every metric of the server is in the table, and no other`() throws {
        let documented = Set(
            try Repository.markdown(Self.page).codeSpans.map(\.text).filter {
                $0.hasPrefix("slipway_") || $0.hasPrefix("gen_ai_client_")
            }
        )
        let inSources = Set(
            try Repository.sources("Sources").filter { !$0.path.hasPrefix("Sources/DemoModel") }.flatMap { _, text in
                text.matches(
                    of:
                        /"(?:# TYPE )?((?:slipway_(?:http|gateway|mcp|loop|task|workspace|agent|sandbox|telemetry)|gen_ai_client_)[a-z_]+)[ "]/
                )
                .map { String($0.1) }
            })
        #expect(!inSources.isEmpty)
        #expect(documented.subtracting(inSources) == [], "in \(Self.page) but nowhere in the sources")
        #expect(inSources.subtracting(documented) == [], "not in \(Self.page)")
    }
}

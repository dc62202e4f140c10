import Core
import Foundation
import Yams

/// Reads the configuration: flags win over `SLIPWAY_*` variables, these over the YAML file named by `--config`.
///
/// A key that nobody knows is an error in all three, with the nearest known name: a misspelt limit must not be silently off.
package struct ConfigurationLoader: Sendable {
    /// Variables of the command-line client and of installers, which may be in the same environment.
    static let foreignVariables: Set<String> = [
        "SLIPWAY_URL", "SLIPWAY_TOKEN", "SLIPWAY_CONFIG_DIR", "SLIPWAY_CA_FILE", "SLIPWAY_CONFIG",
    ]

    package var arguments: [String]
    package var environment: [String: String]
    package var readFile: @Sendable (String) throws -> String

    package init(
        arguments: [String], environment: [String: String],
        readFile: @escaping @Sendable (String) throws -> String = { try String(contentsOfFile: $0, encoding: .utf8) }
    ) {
        self.arguments = arguments
        self.environment = environment
        self.readFile = readFile
    }

    private struct Given {
        var option: ConfigurationOption
        var value: String
        /// How the operator wrote it, for the message.
        var place: String
    }

    /// - Throws: `badRequest` that names the flag, variable or key, and what is expected.
    package func load() throws -> Configuration {
        var flags = try readFlags()
        let file = flags.file ?? environment["SLIPWAY_CONFIG"]
        var given: [Given] = []
        if let file { given += try readYAML(file) }
        given += try readEnvironment()
        given += flags.given
        flags.given = []

        var configuration = Configuration(dataDirectory: defaultDataDirectory)
        for item in given {
            if let expected = item.option.take(item.value, &configuration) {
                let shown = item.option.environmentOnly ? "" : " is '\(item.value)'; it"
                throw AppError(.badRequest, "\(item.place)\(shown) must be \(expected).", field: item.option.name)
            }
        }
        try check(configuration)
        return configuration
    }

    private func check(_ configuration: Configuration) throws {
        if (configuration.tlsCertificate == nil) != (configuration.tlsKey == nil) {
            let (has, lacks) = configuration.tlsKey == nil ? ("tls-cert", "tls-key") : ("tls-key", "tls-cert")
            throw AppError(.badRequest, "--\(has) is set but --\(lacks) is not; TLS needs both.", field: lacks)
        }
        if configuration.keysFile != nil, configuration.keys != nil {
            throw AppError(.badRequest, "Both --keys-file and SLIPWAY_KEYS are set; leave one out.", field: "keys-file")
        }
    }

    private var defaultDataDirectory: String {
        if geteuid() == 0 { return "/var/lib/slipway" }
        let base = environment["XDG_DATA_HOME"] ?? (environment["HOME"] ?? "/tmp") + "/.local/share"
        return base + "/slipway"
    }

    private func readFlags() throws -> (file: String?, given: [Given]) {
        var file: String?
        var given: [Given] = []
        var rest = arguments[...]
        while let word = rest.popFirst() {
            guard word.hasPrefix("--"), word.count > 2 else {
                throw AppError(.badRequest, "'\(word)' is not understood: options look like --name value. Try --help.", field: word)
            }
            let parts = word.dropFirst(2).split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false).map(String.init)
            let name = parts[0]
            func value() throws -> String {
                if parts.count == 2 { return parts[1] }
                guard let next = rest.popFirst() else { throw AppError(.badRequest, "--\(name) needs a value.", field: name) }
                return next
            }
            if name == "config" {
                file = try value()
                continue
            }
            let option = try find(name, written: "--\(name)", among: ConfigurationOption.all.map(\.name) + ["config"]) { "--\($0)" }
            if option.environmentOnly {
                throw AppError(
                    .badRequest, "--\(name) would be readable by every process of this machine; set \(option.variable) instead.",
                    field: name)
            }
            let text = option.placeholder == nil ? (parts.count == 2 ? parts[1] : "on") : try value()
            given.append(Given(option: option, value: text, place: "--\(name)"))
        }
        return (file, given)
    }

    private func readEnvironment() throws -> [Given] {
        try environment.keys.filter { $0.hasPrefix("SLIPWAY_") && !Self.foreignVariables.contains($0) }.sorted().map { variable in
            let name = variable.dropFirst("SLIPWAY_".count).lowercased().replacing("_", with: "-")
            let option = try find(name, written: variable, among: ConfigurationOption.all.map(\.name)) { known in
                "SLIPWAY_" + known.uppercased().replacing("-", with: "_")
            }
            return Given(option: option, value: environment[variable] ?? "", place: variable)
        }
    }

    private func readYAML(_ file: String) throws -> [Given] {
        let text: String
        do {
            text = try readFile(file)
        } catch {
            throw AppError(.badRequest, "The configuration file \(file) cannot be read.", field: "config", cause: error)
        }
        let node: Node?
        do {
            node = try Yams.compose(yaml: text)
        } catch {
            throw AppError(.badRequest, "The configuration file \(file) is not valid YAML: \(error)", field: "config")
        }
        guard let node else { return [] }
        guard case .mapping(let mapping) = node else {
            throw AppError(.badRequest, "The configuration file \(file) must hold 'name: value' lines.", field: "config")
        }
        return try mapping.map { key, value in
            let name = key.string ?? ""
            let place = "\(name) (line \(key.mark?.line ?? 0) of \(file))"
            let option = try find(name, written: place, among: ConfigurationOption.all.map(\.name)) { $0 }
            if let list = value.sequence {
                return Given(option: option, value: list.compactMap(\.scalar?.string).joined(separator: ","), place: place)
            }
            guard let scalar = value.scalar else {
                throw AppError(.badRequest, "\(place) must be one value or a list of values.", field: name)
            }
            return Given(option: option, value: scalar.string, place: place)
        }
    }

    private func find(
        _ name: String, written: String, among names: [String], spelled: (String) -> String
    ) throws -> ConfigurationOption {
        if let option = ConfigurationOption.all.first(where: { $0.name == name }) { return option }
        let hint = Spelling.nearest(to: name, among: names).map { " Did you mean \(spelled($0))?" } ?? " --help lists all options."
        throw AppError(.badRequest, "\(written) is not an option of slipway-server.\(hint)", field: name)
    }

    /// The text of `slipway-server --help`.
    package static var help: String {
        var text = """
            slipway-server: people delegate coding work to AI agents; this is the server they use.

            USAGE: slipway-server [options]
                   slipway-server keys add | provisioner | demo-model [options]

            Each option is also a variable (SLIPWAY_DATA_DIR for --data-dir) and a key of the YAML file of --config
            (data-dir: /srv/slipway). Flags win over variables, variables over the file.

            OPTIONS

            """
        text += row("--config FILE", "A YAML file with any of the options below.")
        for option in ConfigurationOption.all {
            let left = option.environmentOnly ? option.variable : "--\(option.name)" + (option.placeholder.map { " \($0)" } ?? "")
            text += row(left, option.help)
        }
        return text + row("--version, --help", "")
    }

    private static func row(_ left: String, _ right: String) -> String {
        let width = 34
        return "  " + left + String(repeating: " ", count: max(2, width - left.count)) + right + "\n"
    }
}

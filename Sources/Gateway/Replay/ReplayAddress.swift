import Core
import Foundation

/// Where a replay provider takes its answers from: `replay://<recorded provider>/<option>=<value>/…`, as a base URL.
///
/// Options: `speed` (1 is as it was, 10 is ten times as fast, 0 without waiting; default 1), `session` (a recorded session, whose answers
/// come in their order where no request is the same), `days` (how far back it looks; default 7), and `organization`, which Slipway sets.
struct ReplayAddress: Sendable, Equatable {
    static let scheme = "replay"

    var provider: String
    var organization: OrganizationID?
    var speed = 1.0
    var session: String?
    var days = 7
    /// What follows the options in a request's URL.
    var route = ""

    static func isReplay(_ url: String) -> Bool { url.hasPrefix(scheme + "://") }

    /// - Throws: `badRequest` that names the part.
    init(_ url: String) throws {
        guard Self.isReplay(url) else { throw Self.wrong("'\(url)' does not begin with replay://") }
        let parts = url.dropFirst(Self.scheme.count + 3).split(separator: "/", omittingEmptySubsequences: false)
        provider = String(parts.first ?? "")
        guard !provider.isEmpty else { throw Self.wrong("it names no recorded provider") }
        var rest = parts.dropFirst()
        while let part = rest.first, let equals = part.firstIndex(of: "="), !part.contains("?") {
            let value = String(part[part.index(after: equals)...])
            switch part[..<equals] {
            case "speed":
                guard let speed = Double(value), (0...1000).contains(speed) else {
                    throw Self.wrong("speed is a number from 0 to 1000")
                }
                self.speed = speed
            case "days":
                guard let days = Int(value), (1...3650).contains(days) else { throw Self.wrong("days is a number from 1 to 3650") }
                self.days = days
            case "session":
                session = value.removingPercentEncoding ?? value
            case "organization":
                guard let id = OrganizationID(value) else { throw Self.wrong("organization is no id") }
                organization = id
            default: throw Self.wrong("'\(part[..<equals])' is no option; there are speed, session and days")
            }
            rest = rest.dropFirst()
        }
        route = rest.joined(separator: "/")
    }

    /// The base URL as it is stored: of the organization whose provider it is, whatever it said before.
    func stored(for organization: OrganizationID) -> String {
        var text = "\(Self.scheme)://\(provider)/organization=\(organization)"
        if speed != 1 { text += "/speed=\(speed.formatted(.number.grouping(.never).locale(Locale(identifier: "en_US_POSIX"))))" }
        if days != 7 { text += "/days=\(days)" }
        if let session { text += "/session=\(session.addingPercentEncoding(withAllowedCharacters: .alphanumerics) ?? session)" }
        return text
    }

    private static func wrong(_ what: String) -> AppError {
        AppError(
            .badRequest,
            "The base URL of a replay is wrong: \(what). It looks like replay://anthropic/speed=10/session=<id>.", field: "base_url"
        )
    }
}

import Core
import Postgres

/// Which servers' tools an organization lets into model calls. Read with the settings, looked up in memory.
package struct InjectionOffer: Sendable, Equatable {
    static let header = "x-slipway-tools"

    /// Names of servers, in a client's reach when it asks for them.
    var asked: Set<String> = []
    /// In every call that does not say otherwise.
    var always: Set<String> = []

    static func read(_ connection: PostgresConnection) async throws -> [OrganizationID: InjectionOffer] {
        let rows = try await connection.query(
            "SELECT organization_id, name, inject FROM ai_mcp_servers WHERE enabled AND inject <> 'never'")
        var offers: [OrganizationID: InjectionOffer] = [:]
        for row in rows {
            let (organization, name): (OrganizationID, String) = (try row["organization_id"], try row["name"])
            if try row["inject", as: String.self] == ToolServer.Injection.always.rawValue {
                offers[organization, default: .init()].always.insert(name)
            } else {
                offers[organization, default: .init()].asked.insert(name)
            }
        }
        return offers
    }

    /// The servers whose tools one call gets. Calls of tasks have tools of their own, and a call that may be repeated under a key must not
    /// run tools twice: they get none.
    ///
    /// - Throws: `badRequest` when the client names a server that it cannot have.
    func wanted(_ call: GatewayCall) throws(AppError) -> Set<String> {
        guard call.origin == .http else { return [] }
        var wanted: Set<String>?
        var isKeyed = false
        for header in call.headers {
            let length = header.name.utf8.count
            if length == Self.header.utf8.count, header.name.lowercased() == Self.header {
                wanted = (wanted ?? []).union(try named(header.value))
            } else if length == IdempotencyKey.header.utf8.count, header.name.lowercased() == IdempotencyKey.header {
                isKeyed = true
            }
        }
        return isKeyed ? [] : wanted ?? always
    }

    private func named(_ value: String) throws(AppError) -> Set<String> {
        let names = value.split(separator: ",").map { $0.filter { $0 != " " && $0 != "\t" }.lowercased() }
        if names == ["none"] { return [] }
        if names.count > 1, let word = names.first(where: { ["all", "none"].contains($0) }) {
            throw AppError(
                .badRequest,
                "The header \(Self.header) has '\(word)' beside other names; 'all' and 'none' stand alone.", field: Self.header)
        }
        let all = asked.union(always)
        if names == ["all"] { return all }
        guard let stranger = names.first(where: { !all.contains($0) }) else { return Set(names) }
        throw AppError(
            .badRequest,
            "The header \(Self.header) names '\(stranger.prefix(40))', which is no MCP server whose tools are put into model calls; there \(all.isEmpty ? "is none: leave the header out" : "are \(all.sorted().prefix(20).joined(separator: ", ")), all and none").",
            field: Self.header)
    }
}

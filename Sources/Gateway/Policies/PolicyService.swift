import Core
import Foundation
import Policies
import Postgres

/// Policies as code: puts, deletes and shows them. Every change is a new version, put on record by its own transaction, and in force
/// everywhere within two seconds.
package struct PolicyService: Sendable {
    let store: PolicyStore
    let settings: SettingsCache
    let facts: AuditFacts

    /// In force at once in one organization.
    static let most = 100

    /// Those in force, in the order in which they are asked; among them, read-only, the model policies and what is built in.
    package func list(_ principal: Principal) throws -> [PolicyObject] {
        try settings.current().policies.set(of: principal.organization).objects
    }

    /// The stored ones in force.
    package func stored(_ principal: Principal) throws -> [StoredPolicy] {
        try settings.current().policies.stored[principal.organization] ?? []
    }

    /// The newest version, or the one asked for.
    package func version(_ principal: Principal, name: String, _ number: Int? = nil) async throws -> PolicyVersion {
        if let number {
            guard (1...Int(Int32.max)).contains(number),
                let version = try await store.version(principal.organization, name, number)
            else {
                throw AppError(.notFound, "There is no version \(number) of a policy named '\(name)'.", field: "version")
            }
            return version
        }
        if let newest = try await store.versions(principal.organization, name).first, newest.source != nil { return newest }
        if name == BuiltInPolicy.name {
            return PolicyVersion(
                name: name, version: 0, source: BuiltInPolicy.source, origin: .file, actor: nil,
                createdAt: Date(timeIntervalSince1970: 0))
        }
        throw Self.missing(name)
    }

    /// Newest first, also of a deleted one.
    package func versions(_ principal: Principal, name: String) async throws -> [PolicyVersion] {
        let versions = try await store.versions(principal.organization, name)
        if versions.isEmpty { throw Self.missing(name) }
        return versions
    }

    /// Puts a new version in force. The same text again is no change.
    ///
    /// - Parameter base: the version that was changed; another one in force is a conflict. Nil: whatever there is.
    /// - Throws: `badRequest` with every problem of the text and its place; `conflict`.
    package func put(_ principal: Principal, name: String, source: String, base: Int? = nil) async throws -> PolicyVersion {
        let object = try Self.read(source, name)
        guard object.name == name else {
            throw AppError(
                .badRequest, "The text is of a policy named '\(object.name)', not '\(name)'; change the one or the other.",
                field: "name")
        }
        try Self.checkReserved(name)
        try await change(principal.organization, actor: principal.user) { connection in
            let newest = try await store.newest(connection, principal.organization, name)
            try checkBase(base, newest?.version)
            try checkOrigin(name, newest)
            if newest?.source == source { return [] }
            if newest?.source == nil {
                guard try await store.names(connection, principal.organization).count < Self.most else {
                    throw AppError(.badRequest, "There are \(Self.most) policies already, which is the most.", field: "name")
                }
            }
            return [.init(name: name, version: (newest?.version ?? 0) + 1, source: source, origin: .api)]
        }
        return try await version(principal, name: name)
    }

    /// Its versions stay readable.
    package func delete(_ principal: Principal, name: String, base: Int? = nil) async throws {
        try Self.checkReserved(name)
        try await change(principal.organization, actor: principal.user) { connection in
            guard let newest = try await store.newest(connection, principal.organization, name), newest.source != nil else {
                throw Self.missing(name)
            }
            try checkBase(base, newest.version)
            try checkOrigin(name, newest)
            return [.init(name: name, version: newest.version + 1, source: nil, origin: .api)]
        }
    }

    // MARK: Changing

    struct Change: Sendable {
        var name: String
        var version: Int
        var source: String?
        var origin: StoredPolicy.Origin

        func fact(_ organization: OrganizationID, _ actor: UserID?) throws -> AuditFacts.Fact {
            try AuditFacts.Fact(
                organization: organization, actor: actor, kind: source == nil ? "policy.delete" : "policy.put", subject: name,
                [
                    "version": "\(version)", "origin": origin.rawValue,
                    "sha256": PolicyCheck.hash(source),
                ])
        }
    }

    /// Rows and facts in one transaction; nobody else changes policies of the organization meanwhile.
    ///
    /// - Returns: how many changes there were.
    @discardableResult
    func change(
        _ organization: OrganizationID, actor: UserID?,
        _ decide: @escaping @Sendable (PostgresConnection) async throws -> [Change]
    ) async throws -> Int {
        let count = try await facts.record { connection in
            try await store.lock(connection, organization)
            let changes = try await decide(connection)
            for change in changes {
                try await store.add(
                    connection, organization, change.name, version: change.version, source: change.source, origin: change.origin,
                    actor: actor)
            }
            return (changes.count, try changes.map { try $0.fact(organization, actor) })
        }
        try await settings.refresh()
        return count
    }

    // MARK: Checks

    static func read(_ source: String, _ name: String) throws -> PolicyObject {
        do throws(PolicyFileError) {
            return try PolicyReader.read(source)
        } catch {
            throw error.appError("The policy '\(name.prefix(64))'", field: "source")
        }
    }

    static func checkReserved(_ name: String) throws {
        guard name == ModelPolicy.objectName else { return }
        throw AppError(
            .conflict, "'\(name)' are the model policies; change them with slipway models allow and slipway models remove-policy.",
            field: "name")
    }

    private func checkBase(_ base: Int?, _ newest: Int?) throws {
        guard let base, base != newest ?? 0 else { return }
        throw AppError(
            .conflict, "The newest version is \(newest ?? 0), not \(base): somebody else changed it. Look at it and try again.",
            field: "base_version")
    }

    private func checkOrigin(_ name: String, _ newest: (version: Int, source: String?, origin: StoredPolicy.Origin)?) throws {
        guard let newest, newest.source != nil, newest.origin == .file, settings.hasPolicyFolder else { return }
        throw AppError(
            .conflict, "The policy '\(name)' is kept in a file of the server's policy folder (--policy-dir); change it there.",
            field: "name")
    }

    private static func missing(_ name: String) -> AppError {
        AppError(
            .notFound, "There is no policy named '\(name.prefix(64))'; slipway policy list shows those in force.", field: "policy")
    }
}

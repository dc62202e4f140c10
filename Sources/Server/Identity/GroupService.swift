import Core
import Postgres

/// Groups of users, which policies and budgets name. In force everywhere within two seconds.
package struct GroupService: Sendable {
    let store: GroupStore
    let users: UserService

    /// In one organization.
    static let most = 1000

    package func list(_ principal: Principal) async throws -> [GroupRecord] { try await store.list(principal.organization) }

    /// - Throws: `notFound`.
    package func get(_ principal: Principal, _ name: String) async throws -> GroupRecord {
        guard let group = try await store.list(principal.organization, name: name).first else {
            throw AppError(
                .notFound, "There is no group named '\(name.prefix(64))'; slipway groups list shows all.", field: "group")
        }
        return group
    }

    /// - Throws: `badRequest`, `conflict` when the name is taken.
    package func create(_ principal: Principal, name: String) async throws -> GroupRecord {
        guard name.wholeMatch(of: /[a-z0-9]+(-[a-z0-9]+)*/) != nil, name.utf8.count <= 64 else {
            throw AppError(
                .badRequest,
                "A group's name is lower-case letters, digits and hyphens, at most 64, e.g. platform-team; not '\(name.prefix(64))'.",
                field: "name")
        }
        do {
            guard try await store.create(principal, name: name) else {
                throw AppError(.badRequest, "There are \(Self.most) groups already, which is the most.", field: "name")
            }
        } catch let error as PostgresError where error.isUniqueViolation {
            throw AppError(.conflict, "There is a group named '\(name)' already.", field: "name")
        }
        return try await get(principal, name)
    }

    package func delete(_ principal: Principal, _ name: String) async throws {
        guard try await store.delete(principal, name: name) else { _ = try await get(principal, name); return }
    }

    /// - Parameter user: a name or an id.
    package func setMember(_ principal: Principal, _ name: String, _ user: String, _ isMember: Bool) async throws -> GroupRecord {
        let group = try await get(principal, name)
        try await store.setMember(principal, group, try await users.get(principal, user), isMember)
        return try await get(principal, name)
    }
}

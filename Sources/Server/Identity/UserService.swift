import Core
import Foundation
import Gateway
import Logging
import Postgres

/// The rules of accounts: the first one, log-in and its limits, changes by admins.
package final class UserService: Sendable {
    private let store: UserStore
    private let facts: AuditFacts
    private let sessions: SessionStore
    private let passwords: Passwords
    private let logger: Logger
    private let limits: LoginLimitStore

    package init(pool: PostgresPool, facts: AuditFacts, passwords: Passwords, logger: Logger) {
        store = UserStore(pool: pool, facts: facts)
        self.facts = facts
        sessions = SessionStore(pool: pool)
        limits = LoginLimitStore(pool: pool)
        self.passwords = passwords
        self.logger = logger
    }

    // MARK: The first user

    /// Whether the server was set up.
    package func anyExists() async throws -> Bool { try await store.anyExists() }

    /// A new one-time code, or nil when there is a user already.
    package func makeSetupCode() async throws -> Secret<String>? {
        guard try await !store.anyExists() else { return nil }
        let code = Credential.setupCode()
        try await store.addSetupCode(hash: code.hash)
        return code.text
    }

    /// - Throws: `forbidden` for a wrong code, `conflict` when somebody was first, `rateLimited`, `badRequest`.
    package func createFirst(
        setupCode: String, username: String, email: String?, password: Secret<String>, address: String?
    ) async throws -> UserRecord {
        try await limit("set-up code", username: "", address: address)
        if try await store.anyExists() {
            throw AppError(.conflict, "This server has its first user already; log in instead, or ask an admin for an account.")
        }
        let new = NewUser(
            username: try Self.check(username: username), email: try Self.check(email: email),
            passwordHash: try await passwords.hash(password), roles: [.owner])
        let code = setupCode.trimmingCharacters(in: .whitespaces).uppercased()
        let user = try await store.insertFirst(codeHash: Credential.hash(of: code), new)
        logger.notice("The first user '\(user.username)' was created.")
        return user
    }

    // MARK: Log-in

    /// - Throws: `unauthenticated`, the same for an unknown user and a wrong password; `rateLimited` with when to try again.
    package func logIn(username: String, password: Secret<String>, address: String?) async throws -> UserRecord {
        let username = username.lowercased()
        try await limit("log-in", username: username, address: address)
        let found = try await store.findForLogin(username: username)
        guard try await passwords.verify(password, against: found?.passwordHash), let user = found?.user else {
            // Only the name of somebody there is: people type passwords into the wrong field.
            logger.notice(
                "A log-in failed.",
                metadata: ["username": "\(found?.user.username ?? Self.unknownUser)", "address": "\(address ?? "-")"])
            throw AppError(.unauthenticated, "The user name or the password is wrong.")
        }
        guard !user.isSuspended else { throw AppError(.forbidden, "This account is suspended; ask an admin.") }
        try await limits.succeeded(username: username, address: address)
        return user
    }

    private static let unknownUser = "(unknown)"

    private func limit(_ what: String, username: String, address: String?) async throws {
        guard case .wait(let wait, let isReported) = try await limits.attempt(username: username, address: address) else { return }
        if isReported { await reportLock(of: what, username: username, address: address ?? "-") }
        let seconds = Int(wait.inSeconds.rounded(.up))
        throw AppError(
            .rateLimited, "Too many attempts of \(what); try again in \(max(1, seconds)) s.",
            retry: .after(.seconds(max(1, seconds))))
    }

    /// Names the user only when there is one: people type passwords into the wrong field.
    private func reportLock(of what: String, username: String, address: String) async {
        do {
            let user = username.isEmpty ? nil : try await store.findForLogin(username: username)?.user
            let subject = user?.username ?? Self.unknownUser
            logger.warning("Too many attempts of \(what).", metadata: ["username": "\(subject)", "address": "\(address)"])
            try await facts.record(
                organization: user?.organization ?? .default, actor: nil, kind: "login.locked", subject: subject,
                ["address": address, "what": what])
        } catch {
            logger.error("A lock could not be put on record.", metadata: ["error": "\(error)"])
        }
    }

    /// A session for a browser; what is returned goes into its cookie.
    package func openSession(_ user: UserRecord, address: String?, userAgent: String?) async throws -> Secret<String> {
        let credential = Credential.session()
        try await sessions.insert(user, idHash: credential.hash, address: address, userAgent: userAgent)
        return credential.text
    }

    /// Nil when the session is unknown or over, or its user suspended.
    package func principal(ofSession id: String) async throws -> Principal? {
        try await sessions.find(idHash: Credential.hash(of: id))
    }

    /// Logs out; an unknown session is no error.
    package func closeSession(_ id: String) async throws {
        try await sessions.delete(idHash: Credential.hash(of: id))
    }

    // MARK: Accounts

    /// All accounts of the organization, by name.
    package func list(_ principal: Principal, _ page: PageRequest) async throws -> Page<UserRecord> {
        try await store.list(principal.organization, page)
    }

    /// By id or name; `me` is oneself. Others' accounts are not found by who may not list them.
    package func get(_ principal: Principal, _ reference: String) async throws -> UserRecord {
        let reference = reference == "me" ? principal.user.description : reference
        guard let user = try await store.find(principal.organization, reference),
            user.id == principal.user || principal.reach(of: .listUsers) == .everyones
        else { throw AppError(.notFound, "There is no user '\(reference)'.", field: "user") }
        return user
    }

    /// - Throws: `badRequest` with the field; `conflict` for a name that is taken; `forbidden` for roles that the caller may not give.
    package func create(
        _ principal: Principal, username: String, email: String?, password: Secret<String>, roles: [String]
    ) async throws -> UserRecord {
        let roles = try Self.check(roles: roles)
        try checkMayGrant(principal, roles)
        let new = NewUser(
            username: try Self.check(username: username), email: try Self.check(email: email),
            passwordHash: try await passwords.hash(password), roles: roles)
        return try await store.insert(principal, new)
    }

    /// A suspended user is refused everywhere within 2 s: sessions, tokens and tasks.
    ///
    /// - Throws: `notFound`; `forbidden` for an account that outranks the caller; `conflict` for one's own.
    package func setSuspended(_ principal: Principal, _ reference: String, _ isSuspended: Bool) async throws -> UserRecord {
        let user = try await get(principal, reference)
        try checkMayGrant(principal, user.roles)
        if isSuspended, user.id == principal.user { throw AppError(.conflict, "Nobody can suspend their own account.") }
        try await store.setStatus(principal, user.id, isSuspended: isSuspended)
        return try await get(principal, user.id.description)
    }

    /// Replaces all roles.
    ///
    /// - Throws: `notFound`; `badRequest` for an unknown role; `forbidden` for roles that the caller may not give or take.
    package func setRoles(_ principal: Principal, _ reference: String, _ roles: [String]) async throws -> UserRecord {
        let roles = try Self.check(roles: roles)
        let user = try await get(principal, reference)
        try checkMayGrant(principal, roles.union(user.roles))
        try await store.setRoles(principal, user.id, roles)
        return try await get(principal, user.id.description)
    }

    /// Admins set others' passwords; who changes their own must know the old one.
    package func setPassword(
        _ principal: Principal, _ reference: String, old: Secret<String>?, new: Secret<String>, address: String?
    ) async throws {
        let user = try await get(principal, reference)
        if user.id == principal.user {
            guard let old else {
                throw AppError(.badRequest, "Changing your own password needs the old one.", field: "old_password")
            }
            _ = try await logIn(username: user.username, password: old, address: address)
        } else {
            guard principal.reach(of: .changeUser) == .everyones else {
                throw AppError(.forbidden, "Only admins and owners change others' passwords.")
            }
            try checkMayGrant(principal, user.roles)
        }
        try await store.setPassword(principal, user.id, hash: try await passwords.hash(new))
    }

    /// An admin must not make, or take over, an owner.
    private func checkMayGrant(_ principal: Principal, _ roles: Set<Role>) throws {
        if roles.contains(.owner), !principal.roles.contains(.owner) {
            throw AppError(.forbidden, "Only an owner can change accounts of owners.", field: "roles")
        }
    }

    // MARK: Input

    private static func check(username: String) throws -> String {
        let name = username.lowercased()
        let isGood =
            (1...32).contains(name.count) && !name.hasPrefix("-") && !name.hasSuffix("-") && !name.contains("--") && name != "me"
            && name.utf8.allSatisfy { (97...122).contains($0) || (48...57).contains($0) || $0 == 45 }
            && UUID(uuidString: name) == nil
        guard isGood else {
            throw AppError(
                .badRequest, "The user name must be 1 to 32 letters a–z, digits and single hyphens between them.", field: "username"
            )
        }
        return name
    }

    private static func check(email: String?) throws -> String? {
        guard let email, !email.isEmpty else { return nil }
        guard email.count <= 254, email.split(separator: "@").count == 2, !email.contains(where: \.isWhitespace) else {
            throw AppError(.badRequest, "This is no e-mail address.", field: "email")
        }
        return email
    }

    private static func check(roles: [String]) throws -> Set<Role> {
        let known = try roles.map { name in
            guard let role = Role(rawValue: name) else {
                throw AppError(
                    .badRequest, "'\(name)' is no role; there are \(Role.allCases.map(\.rawValue).joined(separator: ", ")).",
                    field: "roles")
            }
            return role
        }
        guard !known.isEmpty else { throw AppError(.badRequest, "A user needs at least one role.", field: "roles") }
        return Set(known)
    }
}

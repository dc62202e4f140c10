import Core

/// Everything a route can do. A route names one of these when it is registered, so none exists without an entry in the table below.
package enum Action: String, Sendable, CaseIterable {
    case readHealth, readMetrics
    case createFirstUser, logIn, logOut
    case readSelf, changeOwnPassword
    case listUsers, createUser, changeUser
    case readGroups, changeGroups
    case listTokens, createToken, revokeToken
    case readKeys, rotateKeys
    case readProviders, changeProviders
    case readModels, changeModelPolicies
    case readPolicies, changePolicies
    case readBudgets, changeBudgets
    case readLimits, changeLimits
    case readInterceptions
    case reconcileInvoices
    case callModels
    case showToolCode
    case useTools, readToolServers, changeToolServers, signInToTools, readToolCalls
    case readAudit, verifyAudit, exportAudit
    case changeAuditRules, changeAuditHolds
    case readTasks, createTask, steerTask
    case uploadFile, readFile
    case readWorkspaces, changeWorkspaces, enterWorkspaces
    case viewPages
}

/// Who may do an action, and to whose things.
package enum Rule: Sendable, Equatable {
    /// Also who has not logged in.
    case anyone
    /// These roles, and no token with a smaller scope than `scope`.
    case roles(Set<Role>, scope: TokenScope, everyones: Set<Role> = [])
}

/// How far somebody's permission for an action reaches.
package enum Reach: Sendable, Equatable, Comparable {
    case none
    /// Only what belongs to oneself.
    case own
    /// What belongs to anybody of the organization.
    case everyones
}

extension Action {
    /// The permission table. `everyones` are the roles whose permission is not limited to their own things.
    package var rule: Rule {
        let all = Set(Role.allCases)
        let admins: Set<Role> = [.owner, .admin]
        let overseers: Set<Role> = [.owner, .admin, .auditor]
        return switch self {
        case .readHealth, .createFirstUser, .logIn: .anyone
        case .readMetrics: .anyone
        case .showToolCode: .anyone
        case .logOut: .roles(all, scope: .read)
        case .readSelf: .roles(all, scope: .read)
        case .changeOwnPassword: .roles(all, scope: .all)
        case .listUsers: .roles(overseers, scope: .read, everyones: overseers)
        case .createUser, .changeUser: .roles(admins, scope: .all, everyones: admins)
        case .readGroups: .roles(overseers, scope: .read, everyones: overseers)
        case .changeGroups: .roles(admins, scope: .all, everyones: admins)
        case .listTokens: .roles(all, scope: .read, everyones: admins)
        case .createToken: .roles(all, scope: .all)
        case .revokeToken: .roles(all, scope: .all, everyones: admins)
        case .readKeys: .roles(overseers, scope: .read, everyones: overseers)
        case .rotateKeys: .roles(admins, scope: .all, everyones: admins)
        case .readProviders: .roles(overseers, scope: .read, everyones: overseers)
        case .changeProviders: .roles(admins, scope: .all, everyones: admins)
        case .readModels: .roles(all, scope: .read, everyones: overseers)
        case .changeModelPolicies: .roles(admins, scope: .all, everyones: admins)
        case .readPolicies: .roles(overseers, scope: .read, everyones: overseers)
        case .changePolicies: .roles(admins, scope: .all, everyones: admins)
        case .readBudgets: .roles(all, scope: .read, everyones: overseers)
        case .changeBudgets: .roles(admins, scope: .all, everyones: admins)
        case .readLimits: .roles(all, scope: .read, everyones: overseers)
        case .changeLimits: .roles(admins, scope: .all, everyones: admins)
        case .readInterceptions: .roles(all, scope: .read, everyones: overseers)
        case .reconcileInvoices: .roles(overseers, scope: .read, everyones: overseers)
        case .callModels: .roles([.owner, .admin, .member], scope: .gateway)
        case .useTools: .roles([.owner, .admin, .member], scope: .gateway)
        case .readToolServers: .roles(all, scope: .read, everyones: overseers)
        case .changeToolServers: .roles(admins, scope: .all, everyones: admins)
        case .signInToTools: .roles([.owner, .admin, .member], scope: .all)
        case .readToolCalls: .roles(all, scope: .read, everyones: overseers)
        case .readAudit, .verifyAudit, .exportAudit: .roles(overseers, scope: .read, everyones: overseers)
        case .changeAuditRules: .roles(admins, scope: .all, everyones: admins)
        // Auditors ask for a hold before an admin hears of it.
        case .changeAuditHolds: .roles(overseers, scope: .all, everyones: overseers)
        case .readTasks: .roles(all, scope: .read, everyones: overseers)
        case .createTask: .roles([.owner, .admin, .member], scope: .all)
        case .steerTask: .roles([.owner, .admin, .member], scope: .all, everyones: [.owner])
        case .uploadFile: .roles([.owner, .admin, .member], scope: .all)
        case .readFile: .roles(all, scope: .read)
        case .readWorkspaces: .roles(all, scope: .read, everyones: overseers)
        case .changeWorkspaces: .roles([.owner, .admin, .member], scope: .all, everyones: admins)
        // A shell in somebody's workspace is that person's; not even an owner gets one.
        case .enterWorkspaces: .roles([.owner, .admin, .member], scope: .all)
        case .viewPages: .roles(all, scope: .all)
        }
    }

    /// How far `roles` reach with a credential of `scope`; nil roles: nobody has logged in.
    package func reach(roles: Set<Role>?, scope: TokenScope) -> Reach {
        switch rule {
        case .anyone: return .own
        case .roles(let allowed, let needed, let everyones):
            guard let roles, !roles.isDisjoint(with: allowed), scope.covers(needed) else { return .none }
            return roles.isDisjoint(with: everyones) ? .own : .everyones
        }
    }
}

extension TokenScope {
    /// Whether a credential of this scope may do what needs the other: `all` covers both, `gateway` and `read` only themselves.
    package func covers(_ needed: TokenScope) -> Bool { self == .all || self == needed }
}

extension Principal {
    package func reach(of action: Action) -> Reach { action.reach(roles: roles, scope: scope) }
}

import Core
import Testing

@testable import Server

@Suite struct PermissionTests {
    /// Written down a second time on purpose: who changes the table changes it here too, and a reader sees all of it at once.
    /// Letters: owner, admin, auditor, member; capital = everybody's things, small = own, - = not at all.
    static let expected: [Action: String] = [
        .readHealth: "oaum", .readMetrics: "oaum", .createFirstUser: "oaum", .logIn: "oaum", .logOut: "oaum",
        .readSelf: "oaum", .changeOwnPassword: "oaum",
        .listUsers: "OAU-", .createUser: "OA--", .changeUser: "OA--",
        .readGroups: "OAU-", .changeGroups: "OA--",
        .listTokens: "OAum", .createToken: "oaum", .revokeToken: "OAum",
        .readKeys: "OAU-", .rotateKeys: "OA--",
        .readProviders: "OAU-", .changeProviders: "OA--",
        .readModels: "OAUm", .changeModelPolicies: "OA--",
        .readPolicies: "OAU-", .changePolicies: "OA--",
        .readBudgets: "OAUm", .changeBudgets: "OA--",
        .readLimits: "OAUm", .changeLimits: "OA--",
        .readInterceptions: "OAUm", .reconcileInvoices: "OAU-", .callModels: "oa-m",
        .useTools: "oa-m", .readToolServers: "OAUm", .changeToolServers: "OA--", .signInToTools: "oa-m", .readToolCalls: "OAUm",
        .showToolCode: "oaum",
        .readAudit: "OAU-", .verifyAudit: "OAU-", .exportAudit: "OAU-",
        .changeAuditRules: "OA--", .changeAuditHolds: "OAU-",
        .readTasks: "OAUm", .createTask: "oa-m", .steerTask: "Oa-m",
        .uploadFile: "oa-m", .readFile: "oaum",
        .readWorkspaces: "OAUm", .changeWorkspaces: "OA-m", .enterWorkspaces: "oa-m",
        .viewPages: "oaum",
    ]

    @Test(arguments: Action.allCases)
    func `the table gives each role what is written here`(action: Action) {
        let roles: [(Role, Character)] = [(.owner, "o"), (.admin, "a"), (.auditor, "u"), (.member, "m")]
        let actual = roles.map { role, letter -> String in
            switch action.reach(roles: [role], scope: .all) {
            case .none: "-"
            case .own: String(letter)
            case .everyones: letter.uppercased()
            }
        }.joined()
        #expect(actual == Self.expected[action])
    }

    @Test(arguments: Action.allCases)
    func `a token for reading changes nothing and a token for models calls models and tools alone`(action: Action) {
        guard case .roles(_, let needed, _) = action.rule else { return }
        let owner: Set<Role> = [.owner]
        #expect((action.reach(roles: owner, scope: .gateway) > .none) == (action == .callModels || action == .useTools))
        #expect((action.reach(roles: owner, scope: .read) > .none) == (needed == .read))
        let changes = ["create", "change", "revoke", "steer", "upload", "enter", "call", "rotate"]
        if changes.contains(where: action.rawValue.hasPrefix) { #expect(needed != .read) }
    }

    @Test func `nobody has a role that strangers lack for what is open to anyone`() {
        for action in Action.allCases { #expect((action.reach(roles: nil, scope: .all) > .none) == (action.rule == .anyone)) }
    }
}

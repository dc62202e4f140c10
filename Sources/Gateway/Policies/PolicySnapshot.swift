import Core
import Foundation
import ModelAPI
import Policies

/// What the database says of policies and groups, read together with the other settings and put in order once.
struct PolicySnapshot: Sendable {
    /// Those that admins wrote, by organization.
    var stored: [OrganizationID: [StoredPolicy]] = [:]
    /// By name.
    var models: [OrganizationID: [ModelPolicy]] = [:]
    var groups: [UserID: Set<String>] = [:]
    var organizations: [OrganizationID: String] = [:]
    private(set) var sets: [OrganizationID: PolicySet] = [:]
    private let builtIn: PolicySet

    init(stored: [StoredPolicy] = [], models: [ModelPolicy] = [], builtIn: PolicyObject) {
        self.stored = Dictionary(grouping: stored, by: \.organization)
        self.models = Dictionary(grouping: models, by: \.organization)
        self.builtIn = PolicySet([builtIn])
        for organization in Set(self.stored.keys).union(self.models.keys) {
            sets[organization] = PolicySet(Self.objects(self.stored[organization] ?? [], self.models[organization] ?? [], builtIn))
        }
    }

    func set(of organization: OrganizationID) -> PolicySet { sets[organization] ?? builtIn }

    /// All that are asked, the built-in one among them unless there is one of its name.
    static func objects(_ stored: [StoredPolicy], _ models: [ModelPolicy], _ builtIn: PolicyObject) -> [PolicyObject] {
        var objects = stored.map(\.object)
        if let object = ModelPolicy.object(models) { objects.append(object) }
        if !objects.contains(where: { $0.name == builtIn.name }) { objects.append(builtIn) }
        return objects
    }
}

extension Settings {
    /// What the policies say of a call to this place.
    ///
    /// - Parameters:
    ///   - client: as `ClientProgram` names it.
    ///   - provider: its name.
    func decide(_ call: GatewayCall, client: String, provider: String, model: String, api: ModelProtocol) -> PolicyDecision {
        let set = policies.set(of: call.principal.organization)
        return set.decide(facts(call, client: client, provider: provider, model: model, api: call.protocolName(api), set))
    }

    /// Without a call: `bytes` and `client` are not known.
    func facts(_ principal: Principal, _ set: PolicySet, provider: String = "", model: String = "", api: String = "") -> PolicyFacts
    {
        var facts = PolicyFacts(
            username: principal.username, roles: principal.roles, provider: provider, model: model, modelProtocol: api, at: Date())
        facts.organization = principal.organization
        facts.organizationName = policies.organizations[principal.organization] ?? ""
        facts.user = principal.user
        facts.groups = policies.groups[principal.user] ?? []
        facts.task = principal.task
        if set.needsBudgets { facts.budgetPercent = budgets?.percent(of: principal.user) }
        return facts
    }
}

extension GatewayCall {
    /// Nobody waits for the steps of tasks, nor for calls that say so themselves: `x-slipway-class: background`.
    var requestClass: RequestClass {
        if case .loop = origin { return .background }
        let said = headers.first { $0.name.lowercased() == "x-slipway-class" }?.value.lowercased()
        return said == RequestClass.background.rawValue ? .background : .interactive
    }
}

extension PolicyDecision {
    /// What the caller is told; nil when the call may be made.
    var refusal: AppError? {
        switch effect {
        case .allow: nil
        case .requireApproval:
            AppError(
                .policyDenied,
                "\(reason) Nobody can approve a single model call yet, so it is refused. Ask an admin. (policy rule \(rule))")
        case .deny, .redact: AppError(.policyDenied, "\(reason) Ask an admin if you need it. (policy rule \(rule))")
        }
    }
}

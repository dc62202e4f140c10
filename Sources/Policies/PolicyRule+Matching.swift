import Core

extension PolicyRule {
    /// The first part of a rule that does not fit the facts.
    enum Mismatch: Sendable {
        case person, organization, task, template, client
        case provider, model, modelProtocol, tool, mcpServer, dataClass, place, arguments
        case time, budget, requestClass, bytes, tokens
    }

    /// Nil: the rule applies.
    ///
    /// - Parameter name: `<provider>/<model>`, made once for all rules.
    func mismatch(_ facts: PolicyFacts, name: String) -> Mismatch? {
        if !resources.models.allows(name) { return .model }
        if !resources.providers.allows(facts.provider) { return .provider }
        if !subjects.names(facts) { return .person }
        if !subjects.organizations.isEmpty, !subjects.organizations.names(facts.organizationName),
            !subjects.organizations.names(facts.organization.description)
        {
            return .organization
        }
        if !subjects.tasks.isEmpty, !subjects.tasks.allows(facts.task?.description) { return .task }
        if !subjects.templates.allows(facts.template) { return .template }
        if !subjects.clients.allows(facts.client) { return .client }
        if !resources.protocols.allows(facts.modelProtocol) { return .modelProtocol }
        if !resources.tools.allows(facts.tool) { return .tool }
        if !resources.mcpServers.allows(facts.mcpServer) { return .mcpServer }
        if !resources.dataClasses.allows(facts.dataClass) { return .dataClass }
        if !resources.places.isEmpty, facts.place.map(resources.places.contains) != true { return .place }
        if !conditions.arguments.isEmpty, !meets(facts.arguments) { return .arguments }
        return conditions.mismatch(facts)
    }

    /// Arguments that cannot be read are never a reason to allow something.
    private func meets(_ arguments: [ToolArgument]?) -> Bool {
        guard let arguments else { return effect != .allow }
        return conditions.arguments.allSatisfy { condition in
            arguments.contains { condition.path.matches($0.path) && condition.texts.allows($0.text) }
        }
    }
}

extension PolicyRule.Subjects {
    fileprivate func names(_ facts: PolicyFacts) -> Bool {
        if users.isEmpty, groups.isEmpty, roles.isEmpty { return true }
        if !roles.isDisjoint(with: facts.roles) { return true }
        if !groups.isEmpty, facts.groups.contains(where: groups.names) { return true }
        return !users.isEmpty && (users.names(facts.username) || users.names(facts.user.description))
    }

    fileprivate var people: String {
        [("user", users.texts), ("group", groups.texts), ("role", roles.sorted().map(\.rawValue))].filter { !$0.1.isEmpty }
            .map { "\($0.0) \($0.1.shown)" }.joined(separator: " or ")
    }
}

extension PolicyRule.Conditions {
    fileprivate func mismatch(_ facts: PolicyFacts) -> PolicyRule.Mismatch? {
        if let requestClass, requestClass != facts.requestClass { return .requestClass }
        if !bytes.isOpen, !bytes.contains(facts.bytes) { return .bytes }
        if !tokens.isOpen, !tokens.contains(facts.tokens) { return .tokens }
        if !budgetPercent.isOpen, facts.budgetPercent.map(budgetPercent.contains) != true { return .budget }
        if !time.isEmpty, !time.contains(where: { $0.contains(facts.at) }) { return .time }
        return nil
    }
}

extension PolicyRule {
    /// Why it does not apply, in words.
    func words(_ mismatch: Mismatch, _ facts: PolicyFacts) -> String {
        func not(_ noun: String, _ list: PatternList, _ actual: String?) -> String {
            "it is for the \(noun) \(list.texts.shown), not for \(actual ?? "none")"
        }
        switch mismatch {
        case .person:
            let groups = facts.groups.sorted()
            let roles = facts.roles.sorted().map(\.rawValue).joined(separator: ", ")
            let who = "\(facts.username) (\(roles)\(groups.isEmpty ? "" : "; groups \(groups.shown)"))"
            return "it is for \(subjects.people), not for \(who)"
        case .organization: return not("organization", subjects.organizations, facts.organizationName)
        case .task: return not("task", subjects.tasks, facts.task?.description)
        case .template: return not("template", subjects.templates, facts.template)
        case .client: return not("client", subjects.clients, facts.client)
        case .provider: return not("provider", resources.providers, facts.provider)
        case .model: return not("model", resources.models, "\(facts.provider)/\(facts.model)")
        case .modelProtocol: return not("protocol", resources.protocols, facts.modelProtocol)
        case .tool: return not("tool", resources.tools, facts.tool)
        case .mcpServer: return not("MCP server", resources.mcpServers, facts.mcpServer)
        case .dataClass: return not("data class", resources.dataClasses, facts.dataClass)
        case .place: return not("place", PatternList(resources.places.map(\.rawValue).sorted()), facts.place?.rawValue)
        case .arguments:
            let wanted = conditions.arguments.map { "\($0.path.text): \($0.texts.texts.shown)" }
            return "it is for arguments with \(wanted.shown), and these have none such"
        case .time:
            return "it holds \(conditions.time.map(\.words).joined(separator: "; ")), and it was \(facts.at.formatted(.iso8601))"
        case .budget:
            let actual = facts.budgetPercent.map { "\($0) percent" } ?? "no budget"
            return "it needs \(conditions.budgetPercent.words) percent of the budget spent, not \(actual)"
        case .requestClass:
            return "it is for \(conditions.requestClass?.rawValue ?? "") requests, and this one is \(facts.requestClass.rawValue)"
        case .bytes: return "it is for \(conditions.bytes.words) bytes, not \(facts.bytes)"
        case .tokens: return "it is for \(conditions.tokens.words) tokens, not \(facts.tokens)"
        }
    }
}

extension [String] {
    /// At most eight of them.
    fileprivate var shown: String {
        prefix(8).joined(separator: ", ") + (count > 8 ? " and \(count - 8) more" : "")
    }
}

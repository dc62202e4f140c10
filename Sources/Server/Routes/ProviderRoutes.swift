import API
import Core
import Foundation
import Gateway
import HTTPTypes
import Hummingbird
import ModelAPI

/// `/api/v2/ai/providers`, `/api/v2/ai/models`, `/api/v2/ai/model-policies`.
struct ProviderRoutes: Sendable {
    let gateway: Gateway
    let users: UserService

    func register(on table: RouteTable) {
        table.on(.get, APIPaths.providers, .readProviders, list)
        table.on(.post, APIPaths.providers, .changeProviders, create)
        table.on(.patch, APIPaths.providers + "/{provider}", .changeProviders, update)
        table.on(.delete, APIPaths.providers + "/{provider}", .changeProviders, delete)
        table.on(.get, APIPaths.models, .readModels, models)
        table.on(.get, APIPaths.modelPolicies, .readModels, policies)
        table.on(.post, APIPaths.modelPolicies, .changeModelPolicies, putPolicy)
        table.on(.delete, APIPaths.modelPolicies + "/{policy}", .changeModelPolicies, deletePolicy)
    }

    // MARK: Providers

    @Sendable func list(_ call: Call) async throws -> Response {
        try .json(AIProviderList(providers: try gateway.providers.list(call.principal).map(\.shown)))
    }

    @Sendable func create(_ call: Call) async throws -> Response {
        let wanted = try await call.incoming.json(CreateAIProviderRequest.self)
        let type = try ProviderType(named: wanted.type)
        let provider = try await gateway.providers.create(
            call.principal, name: wanted.name, type: type,
            .init(
                displayName: wanted.displayName, baseURL: wanted.baseURL, keys: wanted.apiKey.map { [Secret($0)] },
                allowsPrivateAddresses: wanted.allowPrivate))
        return try .json(provider.shown, status: .created)
    }

    @Sendable func update(_ call: Call) async throws -> Response {
        let wanted = try await call.incoming.json(UpdateAIProviderRequest.self)
        guard wanted.apiKey == nil || wanted.apiKeys == nil else {
            throw AppError(.badRequest, "Send api_key or api_keys, not both.", field: "api_keys")
        }
        let provider = try await gateway.providers.update(
            call.principal, name: try call.incoming.path("provider"),
            .init(
                displayName: wanted.displayName, baseURL: wanted.baseURL,
                keys: (wanted.apiKeys ?? wanted.apiKey.map { [$0] })?.map { Secret($0) },
                isEnabled: wanted.enabled, allowsPrivateAddresses: wanted.allowPrivate,
                settings: try wanted.settings.map { try CallSettings($0) }))
        return try .json(provider.shown)
    }

    @Sendable func delete(_ call: Call) async throws -> Response {
        try await gateway.providers.delete(call.principal, name: try call.incoming.path("provider"))
        return .noContent
    }

    // MARK: Models

    /// Those that can be called: priced, and of an enabled provider.
    @Sendable func models(_ call: Call) async throws -> Response {
        let providers = try gateway.providers.list(call.principal).filter(\.isEnabled)
        let models = try providers.flatMap { provider in
            try gateway.prices.list(call.principal, named: provider.name).filter {
                $0.price.providerType == provider.type && provider.serves($0.price.model)
            }.map { entry in
                AIModel(
                    provider: provider.name, model: entry.price.model, type: provider.type.rawValue,
                    inputPerMillion: entry.price.standard.input.value, outputPerMillion: entry.price.standard.output.value,
                    cacheReadPerMillion: entry.price.standard.cacheRead.value,
                    cacheWritePerMillion: entry.price.standard.cacheWrite5m.value, source: entry.layer.rawValue)
            }
        }
        return try .json(AIModelList(models: models))
    }

    // MARK: Policies

    @Sendable func policies(_ call: Call) async throws -> Response {
        try .json(ModelPolicyList(policies: try gateway.modelPolicies.list(call.principal).map(\.shown)))
    }

    @Sendable func putPolicy(_ call: Call) async throws -> Response {
        let wanted = try await call.incoming.json(CreateModelPolicyRequest.self)
        var members: Set<UserID> = []
        for reference in wanted.users ?? [] { members.insert(try await users.get(call.principal, reference).id) }
        let roles = try (wanted.roles ?? []).map { name in
            guard let role = Role(rawValue: name) else {
                throw AppError(.badRequest, "'\(name.prefix(40))' is no role.", field: "roles")
            }
            return role
        }
        try await gateway.modelPolicies.put(
            call.principal, name: wanted.name, models: wanted.models, roles: Set(roles), users: members)
        guard let policy = try gateway.modelPolicies.list(call.principal).first(where: { $0.name == wanted.name }) else {
            throw AppError(.conflict, "The policy '\(wanted.name)' was removed again meanwhile.")
        }
        return try .json(policy.shown, status: .created)
    }

    @Sendable func deletePolicy(_ call: Call) async throws -> Response {
        try await gateway.modelPolicies.delete(call.principal, name: try call.incoming.path("policy"))
        return .noContent
    }
}

extension Provider {
    fileprivate var shown: AIProvider {
        AIProvider(
            id: id.description, name: name, displayName: displayName, type: type.rawValue, baseURL: baseURL, enabled: isEnabled,
            allowPrivate: allowsPrivateAddresses, keyHints: keys.map(\.hint), scripted: origin == .demo,
            settings: settings.shown)
    }

    /// The scripted models are served by the scripted provider alone, and it serves nothing else.
    fileprivate func serves(_ model: String) -> Bool { model.hasPrefix("demo-") == (origin == .demo) }
}

extension CallSettings {
    fileprivate init(_ wanted: AICallSettings) throws {
        let protocols = try wanted.protocols?.map { name in
            guard let known = ModelProtocol(rawValue: name) else {
                throw AppError(
                    .badRequest,
                    "'\(name.prefix(40))' is no protocol; there are \(ModelProtocol.allCases.map(\.rawValue).joined(separator: ", ")).",
                    field: "settings.protocols")
            }
            return known
        }
        self.init(
            firstByteSeconds: wanted.firstByteSeconds, idleSeconds: wanted.idleSeconds, totalSeconds: wanted.totalSeconds,
            pingSeconds: wanted.pingSeconds, drainSeconds: wanted.drainSeconds, protocols: protocols, region: wanted.region,
            traceContext: wanted.traceContext,
            models: try wanted.models?.mapValues { try Self($0) })
    }

    fileprivate var shown: AICallSettings {
        AICallSettings(
            firstByteSeconds: firstByteSeconds, idleSeconds: idleSeconds, totalSeconds: totalSeconds, pingSeconds: pingSeconds,
            drainSeconds: drainSeconds, protocols: protocols?.map(\.rawValue), region: region,
            traceContext: traceContext, models: models?.mapValues(\.shown))
    }
}

extension StoredModelPolicy {
    fileprivate var shown: API.ModelPolicy {
        API.ModelPolicy(
            id: id.uuidString.lowercased(), name: name, models: models, roles: roles.sorted().map(\.rawValue),
            userIDs: users.map(\.description).sorted())
    }
}

import Core
import Gateway

/// Which models tasks can have: those that the gateway would call for the same person.
struct GatewayTaskModels: TaskModels {
    let gateway: Gateway
    let defaultModel: String?

    func model(_ wanted: String?, for principal: Principal) throws -> String {
        guard let model = wanted ?? defaultModel else {
            throw AppError(
                .badRequest, "Name a model ('slipway models list' shows them), or start the server with --default-model.",
                field: "model")
        }
        _ = try gateway.resolve(model: model, for: principal)
        return model
    }

    func isScripted(_ model: String, for principal: Principal) -> Bool {
        guard let target = try? gateway.resolve(model: model, for: principal),
            let provider = try? gateway.providers.get(principal, name: target.provider)
        else { return false }
        return provider.origin == .demo
    }
}

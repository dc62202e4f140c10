import Core
import Foundation

/// What the server asks of a provisioner daemon, as JSON in frames (`FrameSocket`).
struct ProvisionerRequest: Codable, Sendable {
    enum Verb: Codable, Sendable {
        case probe
        case start(SandboxSpec)
        case stop(SandboxRecord)
        case delete(workspace: WorkspaceID, number: Int)
        case status(workspace: WorkspaceID, number: Int)
        case adopt(SandboxRecord, limits: SandboxLimits)
        case usage(SandboxRecord)
        case log(workspace: WorkspaceID, number: Int)
    }

    var id: Int
    var verb: Verb
}

/// What the daemon says: a result for a request, or a death that nobody asked for.
enum ProvisionerMessage: Codable, Sendable {
    case capabilities(id: Int, SandboxCapabilities)
    case record(id: Int, SandboxRecord?)
    case usage(id: Int, SandboxUsage)
    case flag(id: Int, Bool)
    case text(id: Int, String)
    case failure(id: Int, ProvisionerFailure)
    case death(SandboxDeath)
    /// The daemon cannot work and ends.
    case fatal(ProvisionerFailure)

    /// Nil for what answers no request.
    var id: Int? {
        switch self {
        case .capabilities(let id, _), .record(let id, _), .usage(let id, _), .flag(let id, _), .text(let id, _),
            .failure(let id, _):
            id
        case .death, .fatal: nil
        }
    }
}

/// An `AppError` on its way through the pipe.
struct ProvisionerFailure: Codable, Sendable {
    var code: String
    var message: String
    var field: String?
    var detail: String?
    var retrySeconds: Double?

    init(_ error: any Error) {
        let error = error as? AppError ?? AppError(.internal, "The provisioner failed.", detail: "\(error)")
        code = error.code.rawValue
        message = error.message
        field = error.field
        detail = error.cause.map { "\(error.detail ?? "") <- \($0)" } ?? error.detail
        retrySeconds =
            switch error.retry {
            case .never: nil
            case .now: 0
            case .after(let duration): duration / .seconds(1)
            }
    }

    var error: AppError {
        let retry: AppError.Retry = retrySeconds.map { $0 == 0 ? .now : .after(.milliseconds(Int($0 * 1000))) } ?? .never
        return AppError(AppError.Code(rawValue: code) ?? .internal, message, field: field, detail: detail, retry: retry)
    }
}

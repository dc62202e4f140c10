import Core

/// Who goes first where calls have to wait.
package enum CallClass: String, Sendable {
    /// Somebody waits for the answer.
    case interactive
    /// Steps of tasks, and calls that say so: `x-slipway-class: background`.
    case background

    package static let header = "x-slipway-class"

    init(_ call: GatewayCall) {
        if case .loop = call.origin {
            self = .background
        } else {
            let said = call.headers.first { $0.name.lowercased() == Self.header }?.value
            self = said?.lowercased() == Self.background.rawValue ? .background : .interactive
        }
    }
}

/// So many calls of a limit are under way that this one has to wait for one of them.
struct LimitBusy: Error {
    var use: RateUse
}

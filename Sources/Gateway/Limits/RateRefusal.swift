import Core

/// What a caller is told whom a limit stops.
enum RateRefusal {
    static func limited(_ name: String, _ what: String, _ limit: Int64, _ wait: Duration) -> AppError {
        if limit == 0 { return never(name, what) }
        let seconds = wait.wholeSeconds
        return AppError(
            .rateLimited,
            "The limit '\(name)' lets \(limit) \(what) a minute through, and this call is beyond that; it would pass in \(seconds) s. An admin can change it: slipway limits set \(name).",
            retry: .after(.seconds(seconds)))
    }

    /// A limit of 0 ends by itself at no time: nobody is told to come back.
    private static func never(_ name: String, _ what: String) -> AppError {
        AppError(
            .rateLimited,
            "The limit '\(name)' lets no \(what) through, so this call does not pass until an admin changes it: slipway limits set \(name)."
        )
    }

    /// When one of them ends nobody knows; this is when to ask again.
    static let busyPause = Duration.seconds(2)

    static func busy(_ name: String, _ limit: Int64) -> AppError {
        if limit == 0 { return never(name, "calls") }
        return AppError(
            .rateLimited,
            "The limit '\(name)' lets \(limit) calls run at a time, and no place came free in time. An admin can change it: slipway limits set \(name).",
            retry: .after(busyPause))
    }
}

extension Duration {
    /// Rounded up, at least one.
    var wholeSeconds: Int64 { max(1, components.seconds + (components.attoseconds > 0 ? 1 : 0)) }
}

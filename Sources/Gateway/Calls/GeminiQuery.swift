import Core

/// Which queries of Google's REST interface pass. Others of its system parameters choose an answer that cannot be read along: `alt=proto`
/// and `callback=` are no JSON, `fields=` leaves out the usage that is to be booked.
/// The headers that do the same are dropped (`HeaderEdits`).
/// https://cloud.google.com/apis/docs/system-parameters
enum GeminiQuery {
    /// - Parameter route: with its query.
    /// - Throws: `badRequest` for a parameter that does not pass, and for a stream that is not asked for as server-sent events.
    static func check(route: String, isStream: Bool) throws(AppError) {
        let query = route.firstIndex(of: "?").map { route[route.index(after: $0)...] } ?? ""
        var isEvents = false
        for part in query.split(separator: "&") {
            let pair = part.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
            guard let name = String(pair[0]).removingPercentEncoding,
                let value = String(pair.count > 1 ? pair[1] : "").removingPercentEncoding
            else { throw refusal(part) }
            switch (name, value) {
            case ("alt", "sse") where isStream: isEvents = true
            case ("alt", _), ("$alt", _):
                // Google's older Python client asks for `json;enum-encoding=int`.
                guard !isStream, value == "json" || value.hasPrefix("json;") else { throw refusal(part) }
            case ("prettyPrint", "true"), ("prettyPrint", "false"), ("$prettyPrint", "true"), ("$prettyPrint", "false"): continue
            default: throw refusal(part)
            }
        }
        if isStream, !isEvents {
            throw AppError(
                .badRequest, "streamGenerateContent is served with ?alt=sse only: other streams cannot be read along.", field: "alt"
            )
        }
    }

    private static func refusal(_ part: Substring) -> AppError {
        AppError(
            .badRequest,
            "The query parameter '\(part.prefix(64))' is not served by the gateway; only alt=sse for streams and alt=json are.",
            field: String(part.prefix { $0 != "=" }.prefix(64)))
    }
}

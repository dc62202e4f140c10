import Testing

struct NotYet: Error, CustomStringConvertible { var description: String }

/// Returns when the condition holds; throws when it does not for too long.
func eventually(
    within limit: Duration = .seconds(30), _ about: @autoclosure () -> String = "", location: SourceLocation = #_sourceLocation,
    _ condition: () async throws -> Bool
) async throws {
    let deadline = ContinuousClock.now + limit
    while ContinuousClock.now < deadline {
        if try await condition() { return }
        try await Task.sleep(for: .milliseconds(20))
    }
    throw NotYet(description: "line \(location.line): it did not happen within \(limit). \(about())")
}

/// Waits for a fact that nothing announces, by looking for it again and again. The bound is there only to catch a hang.
///
/// - Throws: what `isSo` throws; `NeverHappened` when the time is over.
package func eventually(
    within bound: Duration = .seconds(60), _ what: @autoclosure () -> String = "it happened", file: String = #fileID,
    line: Int = #line,
    isolation: isolated (any Actor)? = #isolation, _ isSo: () async throws -> Bool
) async throws {
    let end = ContinuousClock.now + bound
    while try await !isSo() {
        guard ContinuousClock.now < end else { throw NeverHappened(what: what(), bound: bound, place: "\(file):\(line)") }
        try await Task.sleep(for: .milliseconds(5))
    }
}

package struct NeverHappened: Error, CustomStringConvertible {
    var what: String
    var bound: Duration
    var place: String
    package var description: String { "\(place): not within \(bound): \(what)" }
}

/// Returns never: what stalls until it is cancelled.
///
/// - Throws: `CancellationError`.
package func stall() async throws -> Never {
    let (never, hold) = AsyncStream<Never>.makeStream()
    for await _ in never {}
    withExtendedLifetime(hold) {}
    throw CancellationError()
}

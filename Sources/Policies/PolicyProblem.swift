import Core

/// Something in a file of policies that is not as it must be.
package struct PolicyProblem: Sendable, Equatable, CustomStringConvertible {
    /// Both from 1.
    package var line: Int
    package var column: Int
    package var message: String

    package var description: String { "line \(line), column \(column): \(message)" }
}

/// A file of policies with problems; all of them, up to twenty.
package struct PolicyFileError: Error, Sendable {
    /// In the order of their places.
    package let problems: [PolicyProblem]

    init(problems: [PolicyProblem]) {
        self.problems = problems.sorted { ($0.line, $0.column) < ($1.line, $1.column) }
    }

    /// - Parameter what: the file or the name that people know it by.
    package func appError(_ what: String, field: String) -> AppError {
        let shown = problems.prefix(20).map { "\n  \($0)" }.joined()
        let more = problems.count > 20 ? "\n  and \(problems.count - 20) more" : ""
        return AppError(.badRequest, "\(what) is not valid:\(shown)\(more)", field: field)
    }
}

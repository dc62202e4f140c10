import CPostgres

/// What is sent to a connection at once and answered at once: statements up to one synchronisation point, or a script.
///
/// Unchecked: touched on the loop's thread only, once it was handed to a channel.
final class Exchange: @unchecked Sendable {
    enum Content {
        /// Without an explicit BEGIN among them they are one transaction: all or none.
        case pipeline([Query])
        /// Text with any number of statements, no values.
        case script(String)
    }

    /// A message to PostgreSQL and what to do with its answer.
    enum Step {
        case prepare(StatementCache.Key, name: String)
        case deallocate
        case run(StatementCache.Key)
    }

    let content: Content
    private var complete: ((Result<[ResultSet], any Error>) -> Void)?

    var steps: [Step] = []
    var position = 0
    var results: [ResultSet] = []
    var failure: PostgresError?
    var isCancelled = false
    /// PQcancel is under way: the connection must not be used by anybody else before it has returned.
    var isCancelling = false
    var isAnswered = false

    init(_ content: Content, complete: @escaping (Result<[ResultSet], any Error>) -> Void) {
        self.content = content
        self.complete = complete
    }

    var outcome: Result<[ResultSet], any Error> {
        switch failure {
        case .some(let error) where error.isCancelled && isCancelled: .failure(CancellationError())
        case .some(let error): .failure(error)
        case nil: .success(results)
        }
    }

    func finish(_ outcome: Result<[ResultSet], any Error>) {
        complete?(outcome)
        complete = nil
    }
}

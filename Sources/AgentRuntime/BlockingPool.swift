import NIOPosix

/// A few threads for calls that block on the disk or on a file worker.
struct BlockingPool: Sendable {
    private let pool: NIOThreadPool

    init(threads: Int) {
        pool = NIOThreadPool(numberOfThreads: threads)
        pool.start()
    }

    func submit(_ body: @escaping @Sendable () -> Void) { pool.submit { _ in body() } }

    func run<Value: Sendable>(_ body: @escaping @Sendable () throws -> Value) async throws -> Value {
        try await pool.runIfActive(body)
    }
}

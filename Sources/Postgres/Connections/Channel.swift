import CPostgres
import NIOConcurrencyHelpers

/// The one owner of a `PGconn`: sends exchanges one after the other and reads their answers, on the loop's thread.
///
/// The connection is in libpq's pipeline mode, so preparing a statement costs no round trip of its own.
/// Unchecked: everything but the initialiser and `submit…` runs on the loop's thread.
final class Channel: @unchecked Sendable {
    let handle: OpaquePointer
    let descriptor: Int32
    let loop = PostgresLoop.shared
    var current: Exchange?
    var queue: [Exchange] = []
    var statements = StatementCache()
    var isWaitingToWrite = false
    /// Guarded, for `isClean`: exchanges handed over and not answered, and whether the last one left a transaction open.
    let use = NIOLockedValueBox((underWay: 0, isInTransaction: false, isDoomed: false))
    var lost: PostgresError?
    var onLoss: ((PostgresError) -> Void)?
    var onNotification: ((_ channel: String, _ payload: String) -> Void)?

    /// Takes the handle over: connected, not blocking, in pipeline mode.
    init(_ handle: OpaquePointer) {
        self.handle = handle
        descriptor = PQsocket(handle)
        loop.submit { [weak self] in
            guard let self else { return }
            loop.watch(descriptor) { [weak self] in self?.ready() }
        }
    }

    deinit {
        // Nobody can submit any more; only the loop may hold the last reference while it handles an event.
        let descriptor = descriptor
        let handle = UncheckedHandle(handle)
        let isWatched = lost == nil
        loop.submit { [loop] in
            if isWatched { loop.unwatch(descriptor) }
            PQfinish(handle.pointer)
        }
    }

    struct UncheckedHandle: @unchecked Sendable {
        let pointer: OpaquePointer
        init(_ pointer: OpaquePointer) { self.pointer = pointer }
    }

    // MARK: From any thread

    func submit(_ exchange: Exchange) {
        use.withLockedValue { $0.underWay += 1 }
        loop.submit { [self] in accept(exchange) }
    }

    func submitCancel(_ exchange: Exchange) { loop.submit { [self] in cancel(exchange) } }

    /// Whether the connection may be lent to somebody else: nothing under way, no transaction open.
    var isClean: Bool { use.withLockedValue { $0.underWay == 0 && !$0.isInTransaction && !$0.isDoomed } }

    func submitClose() {
        use.withLockedValue { $0.isDoomed = true }
        loop.submit { [self] in close(.lost("it was closed")) }
    }

    /// Calls `onLoss` once when the connection is lost, at once when it is lost already.
    func observe(
        onLoss: @escaping @Sendable (PostgresError) -> Void,
        onNotification: (@Sendable (_ channel: String, _ payload: String) -> Void)? = nil
    ) {
        loop.submit { [self] in
            if let lost { return onLoss(lost) }
            self.onLoss = onLoss
            self.onNotification = onNotification
        }
    }

    // MARK: Sending

    private func accept(_ exchange: Exchange) {
        if let lost { return finish(exchange, .failure(lost)) }
        queue.append(exchange)
        sendNext()
    }

    func sendNext() {
        while current == nil, lost == nil, !queue.isEmpty {
            let exchange = queue.removeFirst()
            if exchange.isCancelled {
                finish(exchange, .failure(CancellationError()))
                continue
            }
            current = exchange
            let isSent =
                switch exchange.content {
                case .pipeline(let queries): send(queries, of: exchange)
                case .script(let text): send(script: text)
                }
            if isSent { flush() } else { close(.lost(String(cString: PQerrorMessage(handle)))) }
        }
    }

    private func send(_ queries: [Query], of exchange: Exchange) -> Bool {
        var fresh: [StatementCache.Key: String] = [:]
        for name in statements.evict() {
            exchange.steps.append(.deallocate)
            guard PQsendQueryParams(handle, "DEALLOCATE \(name)", 0, nil, nil, nil, nil, 0) == 1 else { return false }
        }
        for query in queries {
            let key = StatementCache.Key(sql: query.sql, types: query.parameters.map(\.type))
            let name: String
            if let known = statements.find(key) ?? fresh[key] {
                name = known
            } else {
                name = statements.newName()
                fresh[key] = name
                exchange.steps.append(.prepare(key, name: name))
                guard PQsendPrepare(handle, name, query.sql, Int32(key.types.count), key.types) == 1 else { return false }
            }
            exchange.steps.append(.run(key))
            guard send(query, name: name) else { return false }
        }
        return PQpipelineSync(handle) == 1
    }

    private func send(_ query: Query, name: String) -> Bool {
        let parameters = query.parameters
        // An empty value needs a pointer as well: without one it would be NULL.
        return (query.bytes + [0]).withUnsafeBytes { bytes in
            let base = bytes.bindMemory(to: CChar.self).baseAddress
            let pointers = parameters.map { parameter -> UnsafePointer<CChar>? in
                parameter.length < 0 ? nil : base.map { $0 + parameter.offset }
            }
            return PQsendQueryPrepared(
                handle, name, Int32(parameters.count), pointers, parameters.map { Int32(max(0, $0.length)) },
                [Int32](repeating: 1, count: parameters.count), 1) == 1
        }
    }

    private func send(script: String) -> Bool {
        PQexitPipelineMode(handle) == 1 && PQsendQuery(handle, script) == 1
    }

    func flush() {
        switch PQflush(handle) {
        case 0: setWaitingToWrite(false)
        case 1: setWaitingToWrite(true)
        default: close(.lost(String(cString: PQerrorMessage(handle))))
        }
    }

    private func setWaitingToWrite(_ wanted: Bool) {
        guard wanted != isWaitingToWrite else { return }
        isWaitingToWrite = wanted
        loop.setWritable(descriptor, wanted)
    }
}

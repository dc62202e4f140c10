import CPostgres
import Dispatch
import NIOConcurrencyHelpers

/// The one owner of a `PGconn`: sends exchanges one after the other and reads their answers, on the loop's thread.
///
/// The connection is in libpq's pipeline mode, so preparing a statement costs no round trip of its own.
/// Unchecked: everything but the initialiser and `submit…` runs on the loop's thread.
final class Channel: @unchecked Sendable {
    private let handle: OpaquePointer
    private let descriptor: Int32
    private let loop = PostgresLoop.shared
    private var current: Exchange?
    private var queue: [Exchange] = []
    private var statements = StatementCache()
    private var isWaitingToWrite = false
    /// Guarded, for `isClean`: exchanges handed over and not answered, and whether the last one left a transaction open.
    private let use = NIOLockedValueBox((underWay: 0, isInTransaction: false, isDoomed: false))
    private var lost: PostgresError?
    private var onLoss: ((PostgresError) -> Void)?
    private var onNotification: ((_ channel: String, _ payload: String) -> Void)?

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

    private struct UncheckedHandle: @unchecked Sendable {
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

    private func sendNext() {
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

    private func flush() {
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

    // MARK: Receiving

    private func ready() {
        guard lost == nil else { return }
        let isAlive = PQconsumeInput(handle) == 1
        if isWaitingToWrite, isAlive { flush() }
        deliverNotifications()
        readAnswer()
        if !isAlive, lost == nil {
            close(current?.failure.flatMap { $0.isConnectionLost ? $0 : nil } ?? .lost(String(cString: PQerrorMessage(handle))))
        }
    }

    private func deliverNotifications() {
        while let notification = PQnotifies(handle) {
            onNotification?(String(cString: notification.pointee.relname), String(cString: notification.pointee.extra))
            PQfreemem(notification)
        }
    }

    private func readAnswer() {
        while let exchange = current, !exchange.isAnswered, lost == nil, PQisBusy(handle) == 0 {
            guard let result = PQgetResult(handle) else {
                guard case .script = exchange.content else {
                    exchange.position += 1
                    if PQstatus(handle) == CONNECTION_BAD { return }
                    continue
                }
                guard PQenterPipelineMode(handle) == 1 else { return close(.lost(String(cString: PQerrorMessage(handle)))) }
                answered(exchange)
                return
            }
            take(result, for: exchange)
            if PQstatus(handle) == CONNECTION_BAD { return close(exchange.failure ?? .lost("the server ended it")) }
        }
    }

    private func take(_ result: OpaquePointer, for exchange: Exchange) {
        let status = PQresultStatus(result)
        switch status {
        case PGRES_PIPELINE_SYNC:
            PQclear(result)
            answered(exchange)
        case PGRES_PIPELINE_ABORTED:
            PQclear(result)
        case PGRES_COMMAND_OK, PGRES_TUPLES_OK, PGRES_EMPTY_QUERY:
            succeed(result, for: exchange)
        default:
            if exchange.failure == nil { fail(result, status, of: exchange) }
            PQclear(result)
        }
    }

    private func succeed(_ result: OpaquePointer, for exchange: Exchange) {
        guard exchange.steps.indices.contains(exchange.position) else { return PQclear(result) }
        switch exchange.steps[exchange.position] {
        case .prepare(let key, let name):
            statements.add(key, name: name)
            PQclear(result)
        case .deallocate:
            PQclear(result)
        case .run(let key):
            let columns = statements.columns(key) ?? Columns(of: result)
            statements.keep(columns, for: key)
            exchange.results.append(ResultSet(result, columns: columns))
        }
    }

    private func fail(_ result: OpaquePointer, _ status: ExecStatusType, of exchange: Exchange) {
        var statement: String?
        if exchange.steps.indices.contains(exchange.position) {
            switch exchange.steps[exchange.position] {
            case .prepare(let key, _): statement = key.sql
            case .run(let key): statement = key.sql
            case .deallocate: break
            }
        }
        var failure = PostgresError(result: result, statement: statement)
        if status == PGRES_COPY_IN || status == PGRES_COPY_OUT || status == PGRES_COPY_BOTH {
            failure = .init(sqlState: "0A000", message: "COPY is not supported here.", statement: statement)
            exchange.failure = failure
            return close(failure)
        }
        exchange.failure = failure
        // The table changed under a prepared statement, or somebody ran DISCARD: the next call prepares it anew.
        if ["0A000", "26000"].contains(failure.sqlState), exchange.steps.indices.contains(exchange.position),
            case .run(let key) = exchange.steps[exchange.position]
        {
            statements.forget(key)
        }
    }

    private func answered(_ exchange: Exchange) {
        exchange.isAnswered = true
        guard !exchange.isCancelling else { return }
        current = nil
        finish(exchange, exchange.outcome)
        sendNext()
    }

    private func finish(_ exchange: Exchange, _ outcome: Result<[ResultSet], any Error>) {
        let isInTransaction = PQtransactionStatus(handle) != PQTRANS_IDLE
        use.withLockedValue {
            $0.underWay -= 1
            $0.isInTransaction = isInTransaction
        }
        exchange.finish(outcome)
    }

    // MARK: Cancelling and closing

    private func cancel(_ exchange: Exchange) {
        exchange.isCancelled = true
        if let index = queue.firstIndex(where: { $0 === exchange }) {
            queue.remove(at: index)
            return finish(exchange, .failure(CancellationError()))
        }
        guard current === exchange, !exchange.isAnswered else { return }
        interrupt(exchange)
        loop.schedule(after: .seconds(5)) { [weak self] in
            guard let self, current === exchange else { return }
            close(.lost("the server did not react to a cancellation within 5 s"))
        }
    }

    /// Asks the server to stop, again and again: it ignores a request that arrives before it has begun with the statement.
    private func interrupt(_ exchange: Exchange) {
        guard current === exchange, !exchange.isAnswered, let request = PQgetCancel(handle) else { return }
        exchange.isCancelling = true
        let unchecked = UncheckedHandle(request)
        // PQcancel opens a connection of its own and blocks.
        DispatchQueue.global().async { [self] in
            var message = [CChar](repeating: 0, count: 256)
            _ = PQcancel(unchecked.pointer, &message, 256)
            PQfreeCancel(unchecked.pointer)
            loop.submit { [self] in
                exchange.isCancelling = false
                guard current === exchange else { return }
                if exchange.isAnswered { return answered(exchange) }
                loop.schedule(after: .milliseconds(100)) { [self] in interrupt(exchange) }
            }
        }
    }

    private func close(_ reason: PostgresError) {
        guard lost == nil else { return }
        lost = reason
        loop.unwatch(descriptor)
        let failed = (current.map { [$0] } ?? []) + queue
        current = nil
        queue = []
        for exchange in failed {
            finish(exchange, .failure(exchange.isCancelled ? CancellationError() : reason))
        }
        onLoss?(reason)
        onLoss = nil
        onNotification = nil
    }

}

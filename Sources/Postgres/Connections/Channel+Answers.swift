import CPostgres

/// What arrives: notifications, and the answers to the exchange that is under way.
extension Channel {
    func ready() {
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

    func answered(_ exchange: Exchange) {
        exchange.isAnswered = true
        guard !exchange.isCancelling else { return }
        current = nil
        finish(exchange, exchange.outcome)
        sendNext()
    }

    func finish(_ exchange: Exchange, _ outcome: Result<[ResultSet], any Error>) {
        let isInTransaction = PQtransactionStatus(handle) != PQTRANS_IDLE
        use.withLockedValue {
            $0.underWay -= 1
            $0.isInTransaction = isInTransaction
        }
        exchange.finish(outcome)
    }
}

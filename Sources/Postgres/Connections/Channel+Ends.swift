import CPostgres
import Dispatch

/// Cancelling one exchange, and losing or closing the connection.
extension Channel {
    func cancel(_ exchange: Exchange) {
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

    func close(_ reason: PostgresError) {
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

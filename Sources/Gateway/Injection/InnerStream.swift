import Core
import ModelAPI
import NIOConcurrencyHelpers
import NIOCore

/// The stream of a call with injected tools, for one reader: what the model says of each round as it comes, and pings while tools run.
final class InnerStream: Sendable {
    private enum Signal: Sendable {
        case ping
        case followed(InnerCall, GatewayAnswer?)
    }

    private struct State {
        var call: InnerCall
        /// Of the round under way; nil between two.
        var body: GatewayBody?
        var signals: AsyncStream<Signal>?
        var tasks: [Task<Void, Never>] = []
        var isOver = false
    }

    private let state: NIOLockedValueBox<State>
    private let pingAfter: Duration

    init(_ call: InnerCall, _ body: GatewayBody, pingAfter: Duration = .seconds(CallSettings.usualPing)) {
        state = NIOLockedValueBox(State(call: call, body: body))
        self.pingAfter = pingAfter
    }

    /// The next bytes for the client; nil at the end.
    func next() async -> ByteBuffer? {
        while true {
            let (body, signals, isOver) = state.withLockedValue { ($0.body, $0.signals, $0.isOver) }
            if isOver { return nil }
            let output: ByteBuffer?
            if let body {
                output = await read(body)
            } else if let signals {
                output = await wait(signals)
            } else {
                return nil
            }
            if let output, output.readableBytes > 0 { return output }
        }
    }

    /// One piece of the round under way.
    private func read(_ body: GatewayBody) async -> ByteBuffer? {
        // All iterators of a stream read on from the same place.
        var iterator = body.makeAsyncIterator()
        if let chunk = await iterator.next() {
            let result = state.withLockedValue { state in Result { () throws(AppError) in try state.call.take(chunk) } }
            switch result {
            case .success(let output): return output
            case .failure(let error): return end(with: error.message)
            }
        }
        if Task.isCancelled {
            left()
            return nil
        }
        var (call, round) = state.withLockedValue { state in
            state.body = nil
            let round = state.call.endRound()
            return (state.call, round)
        }
        let (signals, signal) = AsyncStream.makeStream(of: Signal.self)
        // Awaited by the reader, through the signals; `left` cancels both.
        let work = Task {
            let next = await call.follow(round)
            signal.yield(.followed(call, next))
        }
        let pings = Task { [pingAfter] in
            while (try? await Task.sleep(for: pingAfter)) != nil { signal.yield(.ping) }
        }
        state.withLockedValue { state in
            state.signals = signals
            state.tasks = [work, pings]
        }
        return nil
    }

    private func wait(_ signals: AsyncStream<Signal>) async -> ByteBuffer? {
        var iterator = signals.makeAsyncIterator()
        guard let signal = await iterator.next() else {
            left()
            return nil
        }
        switch signal {
        case .ping: return ByteBuffer(string: state.withLockedValue { $0.call.request.api.ping })
        case .followed(var call, let answer):
            stopTasks()
            guard let answer else {
                let output = call.close()
                state.withLockedValue { state in
                    state.call = call
                    state.isOver = true
                }
                return output
            }
            if let whole = answer.body.whole {
                state.withLockedValue { $0.call = call }
                return end(with: Self.message(of: whole, status: answer.status))
            }
            call.begin()
            state.withLockedValue { state in
                state.call = call
                state.body = answer.body
            }
            return nil
        }
    }

    /// A round that was refused ends the stream.
    private func end(with message: String) -> ByteBuffer {
        let call = state.withLockedValue { state in
            state.isOver = true
            state.body = nil
            return state.call
        }
        return ErrorShape.streamError(call.request.api, status: 502, message: message, requestID: call.call.requestID)
    }

    private static func message(of whole: ByteBuffer, status: Int) -> String {
        let error = JSONObjectText(String(buffer: whole))?.object("error")
        return error?.string("message") ?? "The model could not be asked again after its tools were called (status \(status))."
    }

    private func stopTasks() {
        let tasks = state.withLockedValue { state in
            defer {
                state.tasks = []
                state.signals = nil
            }
            return state.tasks
        }
        for task in tasks { task.cancel() }
    }

    /// The reader is gone: tools that run are withdrawn, an answer under way is aborted or drained as that of any call.
    func left() {
        stopTasks()
        state.withLockedValue { state in
            state.isOver = true
            state.body = nil
        }
    }
}

/// Tells the stream when the last of those who could read from it is gone.
final class InnerLease: Sendable {
    let stream: InnerStream
    init(_ stream: InnerStream) { self.stream = stream }
    deinit { stream.left() }
}

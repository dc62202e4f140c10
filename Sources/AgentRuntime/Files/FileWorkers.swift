import AgentProtocol
import Glibc
import NIOConcurrencyHelpers
import NIOCore

/// One running file worker, seen from the agent.
final class WorkerLink: Sendable {
    let zoneID: String
    let socket: WorkerSocket
    private let isBroken = NIOLockedValueBox(false)

    init(zoneID: String, descriptor: Int32) { (self.zoneID, socket) = (zoneID, WorkerSocket(descriptor: descriptor)) }

    /// Wakes whoever is blocked on it; it is not used again.
    func shutDown() {
        isBroken.withLockedValue { $0 = true }
        shutdown(socket.descriptor, Int32(SHUT_RDWR))
    }

    var isUsable: Bool { !isBroken.withLockedValue { $0 } }

    deinit { close(socket.descriptor) }
}

/// At most a few workers, started when needed and used one request at a time.
actor FileWorkers {
    static let most = 6
    private static let mostIdle = 2

    private let zone: ZoneClient
    private let program: String
    private let home: String
    private let pool: BlockingPool
    private var idle: [WorkerLink] = []
    private var count = 0
    private var waiting: [CheckedContinuation<Void, Never>] = []

    init(zone: ZoneClient, program: String, home: String, pool: BlockingPool) {
        (self.zone, self.program, self.home, self.pool) = (zone, program, home, pool)
    }

    /// Lends a worker. After any error, or if the task is cancelled, the worker is ended: its state is not known.
    nonisolated func withWorker<Value: Sendable>(
        patience seconds: Int = 30, _ body: @Sendable (WorkerLink) async throws -> Value
    ) async throws -> Value {
        do { return try await lend(patience: seconds, body) } catch { throw Self.explain(error) }
    }

    /// The same for work without an effect: if the worker ended (the workload may kill it at any time), another one does it.
    nonisolated func withAnyWorker<Value: Sendable>(
        patience seconds: Int = 30, _ body: @Sendable (WorkerLink) async throws -> Value
    ) async throws -> Value {
        for _ in 0..<3 {
            do { return try await lend(patience: seconds, body) } catch WorkerSocket.Failure.closed where !Task.isCancelled {}
        }
        return try await withWorker(patience: seconds, body)
    }

    private nonisolated func lend<Value: Sendable>(
        patience seconds: Int, _ body: @Sendable (WorkerLink) async throws -> Value
    ) async throws -> Value {
        let link = try await take()
        do {
            let value = try await withTaskCancellationHandler {
                link.socket.setPatience(seconds: seconds)
                return try await body(link)
            } onCancel: {
                link.shutDown()
            }
            await put(link, again: link.isUsable)
            return value
        } catch let refusal as WorkerRefusal {
            await put(link, again: link.isUsable)
            throw refusal.failure
        } catch {
            await put(link, again: false)
            throw error
        }
    }

    private func take() async throws -> WorkerLink {
        while true {
            while let link = idle.popLast() {
                if Self.isAlive(link) { return link }
                discard(link)
            }
            if count < Self.most { break }
            await withCheckedContinuation { waiting.append($0) }
        }
        count += 1
        do { return try await spawn() } catch {
            count -= 1
            wakeOne()
            throw error
        }
    }

    private func put(_ link: WorkerLink, again: Bool) {
        if again, idle.count < Self.mostIdle { idle.append(link) } else { discard(link) }
        wakeOne()
    }

    private func wakeOne() { if !waiting.isEmpty { waiting.removeFirst().resume() } }

    private func discard(_ link: WorkerLink) {
        count -= 1
        link.shutDown()
        let (zone, id) = (zone, link.zoneID)
        // Not awaited by anybody: it ends with the zone's replies. A worker that ended by itself has nothing left to signal.
        Task {
            _ = try? await zone.signal(id, SIGKILL, scope: 2)
            for _ in 0..<50 {
                guard (try? await zone.forget(id)) == EBUSY else { return }
                try await Task.sleep(for: .milliseconds(20))
            }
        }
    }

    private func spawn() async throws -> WorkerLink {
        var ends: [Int32] = [0, 0]
        guard socketpair(AF_UNIX, Int32(SOCK_STREAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue), 0, &ends) == 0 else {
            throw AgentFailure(.busy, "A file worker could not be started: \(SystemError.last.text).")
        }
        let link = WorkerLink(zoneID: "f" + String(UInt64.random(in: 1...(.max)), radix: 36), descriptor: ends[0])
        let null = open("/dev/null", O_RDWR | O_CLOEXEC)
        defer {
            close(ends[1])
            close(null)
        }
        let start = ZoneStart(flags: .helper, ringCapacity: 0, directory: home, arguments: [program, "files"], variables: [])
        let started = try await zone.start(link.zoneID, start, descriptors: [null, 2, 2, ends[1]])
        guard started.errno == 0 else {
            throw AgentFailure(
                .busy, "A file worker could not be started in the workspace: \(SystemError(started.errno).text). Try again.")
        }
        return link
    }

    /// An idle worker has nothing to say: readable means ended.
    private static func isAlive(_ link: WorkerLink) -> Bool {
        var poll = pollfd(fd: link.socket.descriptor, events: Int16(POLLIN), revents: 0)
        return link.isUsable && Glibc.poll(&poll, 1, 0) == 0
    }

    private static func explain(_ error: any Error) -> any Error {
        switch error {
        case WorkerSocket.Failure.timedOut:
            AgentFailure(.timeout, "The workspace's files did not answer in time. Try a smaller request.")
        case WorkerSocket.Failure.closed, WorkerSocket.Failure.malformed:
            AgentFailure(.busy, "The workspace's file worker ended before it answered; a command may have killed it. Try again.")
        case ZoneError.gone: AgentFailure(.internal, "The workspace's zone has ended.")
        default: error
        }
    }
}

/// A worker said no, and is ready for the next request.
struct WorkerRefusal: Error { let failure: AgentFailure }

extension WorkerLink {
    func ask(_ request: WorkerRequest) throws { try socket.send(.request, json: request) }

    /// The next frame, which must be of this kind; a failure is thrown as `WorkerRefusal`.
    func expect(_ kind: WorkerFrame.Kind) throws -> ByteBuffer {
        let frame = try socket.receive()
        if frame.kind == kind { return frame.payload }
        guard frame.kind == .failure, let failure = try? WireJSON.decode(AgentFailure.self, from: frame.payload) else {
            throw WorkerSocket.Failure.malformed
        }
        throw WorkerRefusal(failure: failure)
    }
}

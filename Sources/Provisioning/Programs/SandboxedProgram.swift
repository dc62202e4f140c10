import CShims
import Core
import Foundation
import Glibc
import NIOConcurrencyHelpers

/// A program that runs in a sandbox of its own and is spoken to in lines. It ends with this process at the latest.
package final class SandboxedProgram: Sendable {
    /// A longer line ends the program: it would have to be kept.
    package static let longestLine = 8 << 20
    /// How long it may take to end by itself when it is asked to.
    private static let patience = Duration.seconds(2)

    private let input: Int32
    let pid: pid_t
    private let state: NIOLockedValueBox<State>

    private struct State {
        var words: [UInt8] = []
        var hasEnded = false
        var isInputOpen = true
        var waiters: [AsyncStream<Never>.Continuation] = []
    }

    /// Starts it.
    ///
    /// - Parameters:
    ///   - onLine: takes what it says, without line ends, one after the other; meanwhile it waits.
    ///   - onEnd: called once, after the last line.
    /// - Throws: `unavailable` when this host cannot isolate it, saying what is missing.
    package static func start(
        _ spec: ProgramSpec, _ configuration: SandboxConfiguration, onLine: @escaping @Sendable (String) -> Void,
        onEnd: @escaping @Sendable () -> Void
    ) throws -> SandboxedProgram {
        let filter = "\(configuration.insidePath)/seccomp.bpf"
        for (path, advice) in [
            (LocalSandbox.bubblewrap, "apt-get install bubblewrap"), (ProgramSpec.limiter, "apt-get install util-linux"),
            (filter, "make tools agent"),
        ] where access(path, R_OK) != 0 {
            throw AppError(
                .unavailable,
                "\(path) is missing: a server of tools that is a program runs in a sandbox alone, and this host cannot make one. Run: \(advice)"
            )
        }
        return try SandboxedProgram(spec, configuration, filter: filter, onLine, onEnd)
    }

    private init(
        _ spec: ProgramSpec, _ configuration: SandboxConfiguration, filter: String, _ onLine: @escaping @Sendable (String) -> Void,
        _ onEnd: @escaping @Sendable () -> Void
    ) throws {
        let options = slipway_memory_file("options")
        let rules = open(filter, O_RDONLY | O_CLOEXEC)
        defer { for descriptor in [options, rules] where descriptor >= 0 { close(descriptor) } }
        let text = spec.options(configuration).map { Array($0.utf8) + [0] }.flatMap { $0 }
        guard options >= 0, rules >= 0, write(options, text, text.count) == text.count, lseek(options, 0, SEEK_SET) == 0 else {
            throw Self.failure("its options cannot be written")
        }
        var given = [Int32](repeating: -1, count: 2)
        var output = given
        var words = given
        // A socket, so that writing to a program that has ended is an error and no signal.
        guard socketpair(AF_UNIX, Int32(SOCK_STREAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue), 0, &given) == 0,
            slipway_pipe(&output) == 0, slipway_pipe(&words) == 0
        else {
            let error = Self.failure("no descriptors are left")
            for descriptor in given + output + words where descriptor >= 0 { close(descriptor) }
            throw error
        }
        let arguments = (geteuid() == 0 ? ProgramSpec.lowering : []) + spec.arguments
        let isSilent = DispatchSemaphore(value: 0)
        let (born, isBorn) = (NIOLockedValueBox<pid_t>(-EAGAIN), DispatchSemaphore(value: 0))
        let state = NIOLockedValueBox(State())
        let files = [given[1], output[1], words[1], options, rules]
        let (reading, listening) = (output[0], words[0])
        // The sandbox ends with the thread that starts it, so that thread lives as long as it does; it ends when the program has.
        Thread.detachNewThread {
            let pid = Self.spawn(arguments, files)
            born.withLockedValue { $0 = pid }
            isBorn.signal()
            if pid > 0 {
                Self.read(reading, onLine)
                // Whoever closes its output, or says too much, is not wanted any more.
                kill(pid, SIGKILL)
                _ = ChildProcess.reap(pid)
                // Its last words come in before it is said to have ended.
                _ = isSilent.wait(timeout: .now() + 1)
                let waiters = state.withLockedValue { state in
                    state.hasEnded = true
                    return state.waiters
                }
                onEnd()
                for waiter in waiters { waiter.finish() }
            }
            close(reading)
        }
        isBorn.wait()
        for descriptor in files.prefix(3) { close(descriptor) }
        Thread.detachNewThread {
            Self.gather(listening, state)
            isSilent.signal()
        }
        pid = born.withLockedValue { $0 }
        self.state = state
        input = given[0]
        if pid <= 0 { throw Self.failure(String(cString: strerror(-pid))) }
    }

    deinit { closeInput() }

    private static func failure(_ reason: String) -> AppError {
        AppError(.unavailable, "The program's sandbox cannot be started: \(reason).", retry: .after(.seconds(5)))
    }

    private static func spawn(_ arguments: [String], _ files: [Int32]) -> pid_t {
        var argv: [UnsafeMutablePointer<CChar>?] = arguments.map { strdup($0) } + [nil]
        var envp: [UnsafeMutablePointer<CChar>?] = [nil]
        defer { for pointer in argv { free(pointer) } }
        var files = files
        return slipway_spawn_with_files(arguments[0], &argv, &envp, &files, Int32(files.count))
    }

    // MARK: Reading

    private static func read(_ descriptor: Int32, _ onLine: (String) -> Void) {
        var buffer = [UInt8](repeating: 0, count: 65_536)
        var held: [UInt8] = []
        while true {
            let count = Glibc.read(descriptor, &buffer, buffer.count)
            if count < 0, errno == EINTR { continue }
            guard count > 0 else { return }
            var rest = buffer[..<count]
            while let end = rest.firstIndex(of: 0x0A) {
                held += rest[..<end]
                if !held.isEmpty { onLine(String(decoding: held, as: UTF8.self)) }
                held = []
                rest = rest[(end + 1)...]
            }
            held += rest
            if held.count > longestLine { return }
        }
    }

    /// The last of what it says besides, for whoever asks why it ended.
    private static func gather(_ descriptor: Int32, _ state: NIOLockedValueBox<State>) {
        defer { close(descriptor) }
        var buffer = [UInt8](repeating: 0, count: 4096)
        while true {
            let count = Glibc.read(descriptor, &buffer, buffer.count)
            if count < 0, errno == EINTR { continue }
            guard count > 0 else { return }
            state.withLockedValue { $0.words = Array(($0.words + buffer[..<count]).suffix(4096)) }
        }
    }

    /// The last line that it wrote to its standard error.
    package var lastWords: String {
        let words = state.withLockedValue { $0.words }
        return String(decoding: words, as: UTF8.self).split(separator: "\n").last.map(String.init) ?? ""
    }

    package var hasEnded: Bool { state.withLockedValue { $0.hasEnded } }

    // MARK: Writing

    /// Says a line to it. Calls must follow one another.
    ///
    /// - Throws: `unavailable` when it has ended or does not read.
    package func send(_ line: String, within bound: Duration) async throws {
        let bytes = Array(line.utf8) + [0x0A]
        var sent = 0
        let end = ContinuousClock.now + bound
        while sent < bytes.count {
            let (count, code) = state.withLockedValue { state -> (Int, Int32) in
                guard state.isInputOpen else { return (-1, EPIPE) }
                let count = bytes[sent...].withUnsafeBytes {
                    Glibc.send(input, $0.baseAddress, $0.count, Int32(MSG_NOSIGNAL) | Int32(MSG_DONTWAIT))
                }
                return (count, errno)
            }
            if count > 0 {
                sent += count
                continue
            }
            guard count < 0, code == EAGAIN || code == EINTR else {
                throw AppError(.unavailable, "The program does not run any more.", retry: .after(.seconds(1)))
            }
            guard ContinuousClock.now < end else {
                throw AppError(.timeout, "The program does not read what it is told.", source: .upstream)
            }
            // Nothing tells when it has room but a thread that waits for it.
            try await Task.sleep(for: .milliseconds(5))
        }
    }

    // MARK: The end

    /// Asks it to end by closing its input, as the protocol wants it, then ends it. Returns when it has ended.
    package func stop() async {
        closeInput()
        if await ends(within: Self.patience) { return }
        state.withLockedValue { if !$0.hasEnded { _ = kill(pid, SIGKILL) } }
        _ = await ends(within: Self.patience)
    }

    private func ends(within bound: Duration) async -> Bool {
        let (end, waiter) = AsyncStream.makeStream(of: Never.self)
        state.withLockedValue { state in
            if state.hasEnded { waiter.finish() } else { state.waiters.append(waiter) }
        }
        return await Deadline.within(bound) { for await _ in end {} } && hasEnded
    }

    private func closeInput() {
        state.withLockedValue { state in
            if state.isInputOpen { close(input) }
            state.isInputOpen = false
        }
    }
}

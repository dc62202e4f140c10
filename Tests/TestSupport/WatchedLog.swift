import Dispatch
import Foundation
import Glibc
import NIOConcurrencyHelpers

/// A file that another process writes its log to, line by line as the kernel tells that it has grown.
package final class WatchedLog: Sendable {
    private struct State {
        var lines: [String] = []
        /// Bytes behind the last line's end.
        var rest = Data()
        var isOver = false
        var listeners: [Int: AsyncStream<String>.Continuation] = [:]
        var count = 0
    }

    package let path: String
    private let file: FileHandle
    /// Unchecked: dispatch sources may be used from any thread; the protocol does not say so.
    private nonisolated(unsafe) let changes: any DispatchSourceRead
    private let state = NIOLockedValueBox(State())

    /// Makes the file, empty.
    package init(path: String) throws {
        self.path = path
        try Data().write(to: URL(fileURLWithPath: path))
        file = try FileHandle(forReadingFrom: URL(fileURLWithPath: path))
        let descriptor = inotify_init1(Int32(IN_CLOEXEC) | Int32(IN_NONBLOCK))
        guard descriptor >= 0, inotify_add_watch(descriptor, path, UInt32(IN_MODIFY)) >= 0 else {
            throw POSIXError(POSIXErrorCode(rawValue: errno) ?? .EIO)
        }
        changes = DispatchSource.makeReadSource(fileDescriptor: descriptor)
        changes.setEventHandler { [weak self] in
            var events = [UInt8](repeating: 0, count: 4096)
            while read(descriptor, &events, events.count) > 0 {}
            self?.take()
        }
        changes.setCancelHandler { close(descriptor) }
        changes.resume()
    }

    deinit { changes.cancel() }

    /// All of it, with what was written since.
    package var text: String { (try? String(contentsOfFile: path, encoding: .utf8)) ?? "" }

    /// For the writer's standard error or output.
    package func handle() -> FileHandle? { FileHandle(forWritingAtPath: path) }

    /// The complete lines from the first on; ends with the writer.
    package func lines() -> AsyncStream<String> {
        let (stream, listener) = AsyncStream<String>.makeStream()
        state.withLockedValue { state in
            for line in state.lines { listener.yield(line) }
            guard !state.isOver else { return listener.finish() }
            state.count += 1
            let number = state.count
            state.listeners[number] = listener
            listener.onTermination = { [weak self] _ in self?.state.withLockedValue { $0.listeners[number] = nil } }
        }
        return stream
    }

    /// The writer has ended: what it wrote last is told, then nothing more.
    package func end() {
        take()
        let listeners = state.withLockedValue { state in
            state.isOver = true
            defer { state.listeners = [:] }
            return state.listeners.values
        }
        for listener in listeners { listener.finish() }
        // Not left to `deinit`: whoever is told of the writer's end may hold on to this, and the kernel has 128 such watches for a user.
        changes.cancel()
    }

    private func take() {
        state.withLockedValue { state in
            guard !state.isOver, let more = try? file.readToEnd() else { return }
            state.rest.append(more)
            while let end = state.rest.firstIndex(of: UInt8(ascii: "\n")) {
                let line = String(decoding: state.rest[..<end], as: UTF8.self)
                state.rest = Data(state.rest[(end + 1)...])
                state.lines.append(line)
                for listener in state.listeners.values { listener.yield(line) }
            }
        }
    }
}

import CAgent
import Glibc
import NIOConcurrencyHelpers

/// The ledger's memory on disk: lines appended to one file, which a restarted agent reads back.
///
/// A line is in the system's hands when `append` returns, which outlives the agent; `sync` makes it outlive the machine. Those
/// who wait for a sync at the same time share one.
final class Journal: Sendable {
    private struct State {
        var descriptor: Int32
        var size: Int
    }

    private struct Queue {
        var waiting: [CheckedContinuation<Void, any Error>] = []
        var isSyncing = false
    }

    private let path: String
    private let state: NIOLockedValueBox<State>
    private let queue = NIOLockedValueBox(Queue())
    private let pool: BlockingPool

    /// Reads the journal (a torn last line is cut off), begins a boot if it is a new one, and writes it anew, short.
    ///
    /// - Returns: The journal, its ledger, and whether this is the first agent of this sandbox.
    static func open(
        directory: String, boot: String, keeping limit: Int = 10_000, pool: BlockingPool
    ) throws -> (Journal, CallLedger, isNewBoot: Bool) {
        let path = directory + "/journal"
        var ledger = CallLedger()
        var present: String?
        for line in try readText(path).split(separator: "\n") {
            guard let record = CallLedger.Record(line: line) else { continue }
            ledger.replay(record)
            if case .boot(let name) = record { present = name }
        }
        let isNewBoot = present != boot
        if isNewBoot { ledger.beginBoot() }
        ledger.prune(keeping: limit)
        let descriptor = try rewrite(path, ledger.snapshot(boot: boot))
        let size = Int(lseek(descriptor, 0, SEEK_END))
        return (Journal(path: path, descriptor: descriptor, size: size, pool: pool), ledger, isNewBoot)
    }

    private init(path: String, descriptor: Int32, size: Int, pool: BlockingPool) {
        (self.path, self.pool) = (path, pool)
        state = NIOLockedValueBox(State(descriptor: descriptor, size: size))
    }

    deinit { close(state.withLockedValue { $0.descriptor }) }

    var size: Int { state.withLockedValue { $0.size } }

    /// Whole or not at all: what a full disk cut off is taken back.
    func append(_ record: CallLedger.Record) throws {
        let bytes = Array((record.line + "\n").utf8)
        try state.withLockedValue { state in
            do { try writeAll(state.descriptor, bytes) } catch {
                ftruncate(state.descriptor, off_t(state.size))
                throw error
            }
            state.size += bytes.count
        }
    }

    /// Everything appended so far is on the disk when it returns.
    func sync() async throws {
        try await withCheckedThrowingContinuation { continuation in
            let begin = queue.withLockedValue { queue -> Bool in
                queue.waiting.append(continuation)
                defer { queue.isSyncing = true }
                return !queue.isSyncing
            }
            if begin { pool.submit { self.syncAll() } }
        }
    }

    private func syncAll() {
        while true {
            let waiting = queue.withLockedValue { queue -> [CheckedContinuation<Void, any Error>] in
                if queue.waiting.isEmpty { queue.isSyncing = false }
                defer { queue.waiting = [] }
                return queue.waiting
            }
            if waiting.isEmpty { return }
            let failed = fdatasync(state.withLockedValue { $0.descriptor }) != 0 ? SystemError.last : nil
            for continuation in waiting {
                if let failed { continuation.resume(throwing: failed) } else { continuation.resume() }
            }
        }
    }

    /// Replaces the file by the shortest one that says the same. No append may run meanwhile: the caller holds the ledger's lock.
    func compact(_ records: [CallLedger.Record]) throws {
        let descriptor = try Self.rewrite(path, records)
        state.withLockedValue { state in
            // The number stays the same, so that a sync under way keeps a valid one.
            _ = cagent_dup3(descriptor, state.descriptor)
            state.size = Int(lseek(descriptor, 0, SEEK_END))
        }
        close(descriptor)
    }

    /// - Returns: A descriptor for appending to the new file.
    private static func rewrite(_ path: String, _ records: [CallLedger.Record]) throws -> Int32 {
        let temporary = path + ".new"
        let descriptor = Glibc.open(temporary, O_RDWR | O_CREAT | O_TRUNC | O_APPEND | O_CLOEXEC, 0o600)
        guard descriptor >= 0 else { throw SystemError.last }
        do {
            try writeAll(descriptor, Array(records.map { $0.line + "\n" }.joined().utf8))
            guard fdatasync(descriptor) == 0, rename(temporary, path) == 0 else { throw SystemError.last }
            try syncDirectory(of: path)
        } catch {
            close(descriptor)
            throw error
        }
        return descriptor
    }

    private static func syncDirectory(of path: String) throws {
        let directory = Glibc.open(
            String(path[..<(path.lastIndex(of: "/") ?? path.startIndex)]), O_RDONLY | O_DIRECTORY | O_CLOEXEC)
        guard directory >= 0 else { throw SystemError.last }
        defer { close(directory) }
        guard fsync(directory) == 0 else { throw SystemError.last }
    }

    /// The file's whole lines; empty if there is no file.
    private static func readText(_ path: String) throws -> Substring {
        let descriptor = Glibc.open(path, O_RDONLY | O_CLOEXEC)
        guard descriptor >= 0 else {
            if errno == ENOENT { return "" }
            throw SystemError.last
        }
        defer { close(descriptor) }
        var all: [UInt8] = []
        var part = [UInt8](repeating: 0, count: 1 << 16)
        while true {
            let count = read(descriptor, &part, part.count)
            guard count >= 0 else { throw SystemError.last }
            if count == 0 { break }
            all += part[..<count]
        }
        let end = all.lastIndex(of: UInt8(ascii: "\n")).map { $0 + 1 } ?? 0
        return Substring(decoding: all[..<end], as: UTF8.self)
    }
}

/// Writes all bytes, or throws what stopped it.
func writeAll(_ descriptor: Int32, _ bytes: some Collection<UInt8>) throws {
    let all = ContiguousArray(bytes)
    try all.withUnsafeBytes { try writeAll(descriptor, $0) }
}

func writeAll(_ descriptor: Int32, _ bytes: UnsafeRawBufferPointer) throws {
    var rest = bytes
    while let base = rest.baseAddress, rest.count > 0 {
        let count = write(descriptor, base, rest.count)
        if count < 0 && errno == EINTR { continue }
        guard count > 0 else { throw count == 0 ? SystemError(ENOSPC) : SystemError.last }
        rest = UnsafeRawBufferPointer(rebasing: rest.dropFirst(count))
    }
}

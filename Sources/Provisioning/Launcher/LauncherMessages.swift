import Core
import Foundation

/// Requests to the launcher, byte for byte as `slipway-launcher/verbs.h` lays them out.
enum LauncherRequest {
    case start(SandboxSpec, sandboxID: [UInt8])
    case probe(SandboxLimits, sandboxID: [UInt8])
    case kill(number: Int, HostProcess)
    case freeze(number: Int, HostProcess)
    case thaw(number: Int, HostProcess)
    case usage(number: Int, HostProcess)
    case limits(number: Int, HostProcess, SandboxLimits)
    case status(number: Int)
    case remove(number: Int, WorkspaceID)
    case log(number: Int, WorkspaceID)

    func bytes(request: UInt32) -> [UInt8] {
        var out = LittleEndianBytes()
        func head(_ verb: UInt32, _ number: Int, flags: UInt32 = 0) {
            out.append(verb)
            out.append(request)
            out.append(UInt32(number))
            out.append(flags)
        }
        func process(_ process: HostProcess) {
            out.append(UInt32(bitPattern: process.pid))
            out.append(UInt32(0))
            out.append(process.startTime)
        }
        func limits(_ limits: SandboxLimits) {
            out.append(limits.memoryBytes)
            out.append(limits.processes)
            out.append(limits.cpuPercent)
        }
        func identity(_ workspace: WorkspaceID, _ sandboxID: [UInt8], token: String) {
            out.append(workspace)
            out.bytes += sandboxID
            out.append(UInt16(token.utf8.count))
            out.bytes += Array(token.utf8)
        }
        switch self {
        case .start(let spec, let sandboxID):
            head(1, spec.number)
            limits(spec.limits)
            identity(spec.workspace, sandboxID, token: spec.token.reveal())
        case .probe(let probed, let sandboxID):
            head(1, 0, flags: 1)
            limits(probed)
            identity(WorkspaceID(UUID(uuid: (0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0))), sandboxID, token: "probe")
        case .kill(let number, let who):
            head(2, number)
            process(who)
        case .freeze(let number, let who):
            head(3, number)
            process(who)
        case .thaw(let number, let who):
            head(4, number)
            process(who)
        case .remove(let number, let workspace):
            head(5, number)
            out.append(workspace)
        case .usage(let number, let who):
            head(6, number)
            process(who)
        case .limits(let number, let who, let wanted):
            head(7, number)
            limits(wanted)
            process(who)
        case .status(let number):
            head(8, number)
            process(HostProcess(pid: 0, startTime: 0))
        case .log(let number, let workspace):
            head(9, number)
            out.append(workspace)
        }
        return out.bytes
    }
}

/// The version of these messages, the same number as in `slipway-launcher/verbs.h`.
enum LauncherVersion {
    static let spoken: UInt32 = 1
    /// How a launcher ends that is given an option which it does not know: with 2, as `waitpid` tells it.
    private static let unknownOption: Int32 = 2 << 8

    /// Why it ended before it was ready.
    ///
    /// - Parameter status: how; nil when that is not known.
    static func refusal(_ status: Int32?, of path: String) -> AppError {
        if status == unknownOption {
            return AppError(
                .unavailable,
                "\(path) does not know an option that this server gives it: they are of different builds. Run: make tools agent",
                field: "libexec")
        }
        return AppError(
            .unavailable, "The sandbox launcher \(path) refused to start; its reason is in the server's log.")
    }

    /// - Throws: `unavailable`, naming the file, its version and what to run.
    static func check(_ theirs: UInt32, of path: String) throws {
        guard theirs != spoken else { return }
        throw AppError(
            .unavailable,
            "\(path) speaks version \(theirs) of the launcher's messages, this server version \(spoken): they are of different builds. "
                + "Run: make tools agent",
            field: "libexec")
    }
}

/// A reply of the launcher.
struct LauncherReply {
    /// An error number and a sentence.
    struct Failure: Error { var code: Int32, reason: String }

    struct Sandbox {
        var process: HostProcess
        var obtained: SandboxIsolation.Obtained
        var sandboxID: String
        var workspace: WorkspaceID
    }

    let request: UInt32
    /// Of the first word, which is a reply to nothing: the version of all these messages. 0: a launcher from before they had one.
    var version: UInt32 { bytes.integer(at: 8) }
    private let bytes: [UInt8]

    init?(_ bytes: [UInt8]) {
        guard bytes.count >= 16 else { return nil }
        self.bytes = bytes
        request = bytes.integer(at: 4)
    }

    func check() throws {
        let code = Int32(bitPattern: bytes.integer(at: 12))
        if code != 0 { throw Failure(code: code, reason: String(decoding: bytes[16...], as: UTF8.self)) }
    }

    func sandbox() throws -> Sandbox {
        try check()
        guard bytes.count >= 64 else { throw Failure(code: EPROTO, reason: "a short reply of the launcher") }
        let id = bytes[48..<64].map { $0 }
        return Sandbox(
            process: HostProcess(pid: Int32(bitPattern: bytes.integer(at: 16)), startTime: bytes.integer(at: 24)),
            obtained: .init(rawValue: bytes.integer(at: 20)), sandboxID: Data(bytes[32..<48]).hex,
            workspace: WorkspaceID(id.withUnsafeBytes { UUID(uuid: $0.loadUnaligned(as: uuid_t.self)) }))
    }

    func text() throws -> String {
        try check()
        return String(decoding: bytes[16...], as: UTF8.self)
    }

    func usage() throws -> SandboxUsage {
        try check()
        guard bytes.count >= 48 else { throw Failure(code: EPROTO, reason: "a short reply of the launcher") }
        return SandboxUsage(
            memoryBytes: bytes.integer(at: 16), processes: bytes.integer(at: 40), diskBytes: bytes.integer(at: 24),
            files: bytes.integer(at: 32))
    }
}

private struct LittleEndianBytes {
    var bytes: [UInt8] = []

    mutating func append(_ value: some FixedWidthInteger) {
        withUnsafeBytes(of: value.littleEndian) { bytes += Array($0) }
    }
    mutating func append(_ id: WorkspaceID) {
        withUnsafeBytes(of: id.uuid.uuid) { bytes += Array($0) }
    }
}

extension [UInt8] {
    fileprivate func integer<T: FixedWidthInteger>(at offset: Int) -> T {
        withUnsafeBytes { T(littleEndian: $0.loadUnaligned(fromByteOffset: offset, as: T.self)) }
    }
}

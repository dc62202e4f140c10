import NIOCore

/// The wire between agent and zone, version 1 (`Sources/slipway-zone/wire.h`): one message is one record, integers little-endian.
///
///     0 u32 kind · 4 u32 request (echoed in the reply, 0 in events) · 8 u8[40] id of the command · 48 payload
struct ZoneMessage: Sendable {
    enum Kind: UInt32, Sendable {
        case hello = 1, start, signal, status, list, forget, input, closeInput, resize
        case helloReply = 0x101, startReply, signalReply, statusReply, listEnd, forgetReply, inputReply, closeInputReply,
            resizeReply
        case malformed = 0x1ff
        case statusEvent = 0x201, outputEvent
    }

    static let headerSize = 48
    static let idSize = 40
    static let limit = 131_072

    var kind: Kind
    var request: UInt32
    var id: String
    var payload: ByteBuffer

    init(_ kind: Kind, request: UInt32 = 0, id: String = "", payload: ByteBuffer = ByteBuffer()) {
        (self.kind, self.request, self.id, self.payload) = (kind, request, id, payload)
    }

    /// Nil for a record that is too short or of a kind this version does not know.
    init?(_ record: ByteBuffer) {
        var record = record
        guard let number = record.readInteger(endianness: .little, as: UInt32.self), let kind = Kind(rawValue: number),
            let request = record.readInteger(endianness: .little, as: UInt32.self), let id = record.readBytes(length: Self.idSize)
        else { return nil }
        self.init(kind, request: request, id: String(decoding: id.prefix { $0 != 0 }, as: UTF8.self), payload: record)
    }

    var record: ByteBuffer {
        var record = ByteBuffer()
        record.writeInteger(kind.rawValue, endianness: .little)
        record.writeInteger(request, endianness: .little)
        let id = Array(id.utf8.prefix(Self.idSize))
        record.writeBytes(id)
        record.writeRepeatingByte(0, count: Self.idSize - id.count)
        record.writeImmutableBuffer(payload)
        return record
    }
}

/// What the zone keeps of a command.
struct ZoneStatus: Sendable, Equatable {
    enum State: UInt32, Sendable { case unknown = 0, running, exited, killed }

    var state: State
    var code: UInt32
    var pid: Int32
    var outputOpen: Bool
    var startedNanoseconds: UInt64
    var endedNanoseconds: UInt64
    var outputBytes: UInt64
    var cpuMicroseconds: UInt64
    var peakMemoryKiB: UInt64

    init?(_ payload: ByteBuffer) {
        var payload = payload
        guard
            let (state, code, pid, open) = payload.readMultipleIntegers(
                endianness: .little, as: (UInt32, UInt32, Int32, UInt32).self),
            let (started, ended, output, cpu, peak) = payload.readMultipleIntegers(
                endianness: .little, as: (UInt64, UInt64, UInt64, UInt64, UInt64).self),
            let known = State(rawValue: state)
        else { return nil }
        (self.state, self.code, self.pid, self.outputOpen) = (known, code, pid, open != 0)
        (startedNanoseconds, endedNanoseconds, outputBytes, cpuMicroseconds, peakMemoryKiB) = (started, ended, output, cpu, peak)
    }
}

/// What the zone is asked to start.
struct ZoneStart: Sendable {
    struct Flags: OptionSet, Sendable {
        let rawValue: UInt32
        static let ring = Flags(rawValue: 1)
        static let helper = Flags(rawValue: 2)
    }

    var flags: Flags
    var ringCapacity: UInt32
    var directory: String
    var arguments: [String]
    /// `NAME=value`.
    var variables: [String]

    /// Nothing in it may contain a NUL byte.
    var payload: ByteBuffer {
        var payload = ByteBuffer()
        payload.writeMultipleIntegers(
            flags.rawValue, UInt32(arguments.count), UInt32(variables.count), ringCapacity, UInt32(0), endianness: .little)
        for text in [directory] + arguments + variables {
            payload.writeString(text)
            payload.writeInteger(UInt8(0))
        }
        return payload
    }
}

/// How a start ended.
struct ZoneStarted: Sendable {
    enum Stage: UInt32, Sendable { case none = 0, request, fork, directory, exec }

    var errno: Int32
    var pid: Int32
    var already: Bool
    var stage: Stage

    init?(_ payload: ByteBuffer) {
        var payload = payload
        guard
            let (errno, pid, already, stage) = payload.readMultipleIntegers(
                endianness: .little, as: (Int32, Int32, UInt32, UInt32).self)
        else { return nil }
        (self.errno, self.pid, self.already, self.stage) = (errno, pid, already != 0, Stage(rawValue: stage) ?? .none)
    }
}

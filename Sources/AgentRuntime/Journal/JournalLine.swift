import AgentProtocol

extension CallLedger.Record {
    /// Without its newline.
    var line: String {
        switch self {
        case .boot(let boot): "boot \(boot)"
        case .fence(let fence): "fence \(fence.scope) \(fence.number)"
        case .start(let entry):
            "start \(entry.number) \(entry.id) \(entry.kind.rawValue) \(entry.fence.scope) \(entry.fence.number) "
                + "\(String(entry.digest, radix: 16)) \(entry.startedAt)"
        case .end(let number, let result, let at, let bytes): "end \(number) \(at) \(bytes) \(Self.text(result))"
        case .drop(let number): "drop \(number)"
        case .last(let number): "last \(number)"
        }
    }

    /// Nil for a line that is none: a torn one, or one of a later version.
    init?(line: Substring) {
        let fields = line.split(separator: " ", omittingEmptySubsequences: false)
        switch (fields.first, fields.count) {
        case ("boot", 2): self = .boot(String(fields[1]))
        case ("fence", 3):
            guard let number = Int64(fields[2]) else { return nil }
            self = .fence(Fence(number, scope: String(fields[1])))
        case ("start", 8):
            guard let number = UInt64(fields[1]), let kind = CallLedger.Kind(rawValue: String(fields[3])),
                let fence = Int64(fields[5]),
                let digest = UInt64(fields[6], radix: 16), let at = Int64(fields[7])
            else { return nil }
            self = .start(
                .init(
                    number: number, id: String(fields[2]), kind: kind, fence: Fence(fence, scope: String(fields[4])),
                    digest: digest,
                    startedAt: at, isOfThisBoot: true, outputBytes: 0))
        case ("end", 5...):
            guard let number = UInt64(fields[1]), let at = Int64(fields[2]), let bytes = Int64(fields[3]),
                let result = Self.result(fields[4...])
            else { return nil }
            self = .end(number, result, at: at, outputBytes: bytes)
        case ("drop", 2):
            guard let number = UInt64(fields[1]) else { return nil }
            self = .drop(number)
        case ("last", 2):
            guard let number = UInt64(fields[1]) else { return nil }
            self = .last(number)
        default: return nil
        }
    }

    private static func text(_ result: CallLedger.Result) -> String {
        switch result {
        case .exited(let code): "exited \(code)"
        case .signaled(let signal): "signaled \(signal)"
        case .refused(let reason):
            "refused " + String(String.UnicodeScalarView(reason.unicodeScalars.map { $0.value < 32 ? " " : $0 }))
        case .written(let size, let created): "written \(size) \(created ? "created" : "replaced")"
        case .unknown: "unknown"
        }
    }

    private static func result(_ fields: ArraySlice<Substring>) -> CallLedger.Result? {
        let values = Array(fields.dropFirst())
        switch (fields.first, values.count) {
        case ("exited", 1): return Int32(values[0]).map { .exited($0) }
        case ("signaled", 1): return Int32(values[0]).map { .signaled($0) }
        case ("refused", _): return .refused(values.joined(separator: " "))
        case ("written", 2): return Int64(values[0]).map { .written(size: $0, created: values[1] == "created") }
        case ("unknown", 0): return .unknown
        default: return nil
        }
    }
}

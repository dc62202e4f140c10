import Foundation
import Logging
import NIOConcurrencyHelpers

/// The id of the request that is being served, on every log line that is written meanwhile.
package enum RequestScope {
    @TaskLocal package static var requestID: String?

    static let metadata = Logger.MetadataProvider {
        requestID.map { ["request_id": "\($0)"] } ?? [:]
    }
}

/// Writes each record as one line to standard error, as text for people or as JSON for collectors.
package struct LineLogHandler: LogHandler {
    package var metadata: Logger.Metadata = [:]
    package var metadataProvider: Logger.MetadataProvider?
    package var logLevel: Logger.Level
    private let label: String
    private let format: Configuration.LogFormat

    package init(label: String, format: Configuration.LogFormat, level: Logger.Level, provider: Logger.MetadataProvider?) {
        self.label = label
        self.format = format
        logLevel = level
        metadataProvider = provider
    }

    /// Makes every `Logger` of the process write this way. Once per process.
    package static func bootstrap(format: Configuration.LogFormat, level: Logger.Level) {
        LoggingSystem.bootstrap(
            { label, provider in LineLogHandler(label: label, format: format, level: level, provider: provider) },
            metadataProvider: RequestScope.metadata)
    }

    package subscript(metadataKey key: String) -> Logger.Metadata.Value? {
        get { metadata[key] }
        set { metadata[key] = newValue }
    }

    package func log(event: LogEvent) {
        let sources = [metadata, metadataProvider?.get() ?? [:], event.metadata ?? [:]].filter { !$0.isEmpty }
        var all = sources.first ?? [:]
        for source in sources.dropFirst() { all.merge(source) { _, new in new } }
        if let error = event.error { all["error"] = "\(error)" }
        Self.write(line(event.level, event.message.description, all, at: Date()))
    }

    func line(_ level: Logger.Level, _ message: String, _ metadata: Logger.Metadata, at date: Date) -> String {
        let time = LogTime.text(date)
        let fields = metadata.sorted { $0.key < $1.key }
        switch format {
        case .text:
            var text = "\(time) \(level.rawValue) \(label): \(Self.printable(message))"
            for (key, value) in fields { text += " \(key)=\(Self.quoted("\(value)"))" }
            return text + "\n"
        case .json:
            var parts = [
                "\"time\":\"\(time)\"", "\"level\":\"\(level.rawValue)\"", "\"logger\":\(Self.json(label))",
                "\"message\":\(Self.json(message))",
            ]
            parts += fields.map { "\(Self.json($0.key)):\(Self.json("\($0.value)"))" }
            return "{" + parts.joined(separator: ",") + "}\n"
        }
    }

    /// Control characters would let whoever chose the text write log lines of their own.
    private static func printable(_ text: String) -> String {
        guard text.unicodeScalars.contains(where: { $0.value < 32 || $0.value == 127 }) else { return text }
        return text.unicodeScalars.reduce(into: "") { result, scalar in
            scalar.value < 32 || scalar.value == 127
                ? result += "\\u{\(String(scalar.value, radix: 16))}" : result.unicodeScalars.append(scalar)
        }
    }

    private static func quoted(_ text: String) -> String {
        let clean = printable(text)
        guard clean.isEmpty || clean.contains(where: { $0 == " " || $0 == "\"" || $0 == "=" }) else { return clean }
        return "\"" + clean.replacing("\\", with: "\\\\").replacing("\"", with: "\\\"") + "\""
    }

    private static func json(_ text: String) -> String {
        var result = "\""
        for scalar in text.unicodeScalars {
            switch scalar {
            case "\"": result += "\\\""
            case "\\": result += "\\\\"
            case "\n": result += "\\n"
            case _ where scalar.value < 32 || scalar.value == 127:
                let digits = String(scalar.value, radix: 16)
                result += "\\u" + String(repeating: "0", count: 4 - digits.count) + digits
            default: result.unicodeScalars.append(scalar)
            }
        }
        return result + "\""
    }

    private static let lock = NIOLock()

    private static func write(_ line: String) {
        lock.withLock {
            var bytes = Array(line.utf8)[...]
            while !bytes.isEmpty {
                let written = bytes.withUnsafeBytes { Foundation.write(STDERR_FILENO, $0.baseAddress, $0.count) }
                if written < 0, errno == EINTR { continue }
                guard written > 0 else { return }
                bytes = bytes.dropFirst(written)
            }
        }
    }
}

import Foundation
import NIOConcurrencyHelpers
import NIOCore

/// A collector that takes traces by OTLP over HTTP, in its JSON encoding, and keeps what it got: as strict as the real ones about the form.
package final class TraceCollector: Sendable {
    package struct Span: Sendable {
        package var trace: String
        package var id: String
        package var parent: String?
        package var name: String
        package var kind: Int
        package var began: UInt64
        package var ended: UInt64
        package var error: String?
        /// Numbers and truths as their text, lists with commas.
        package var attributes: [String: String]
        package var resource: [String: String]

        package subscript(_ key: String) -> String? { attributes[key] }
    }

    private let got = NIOLockedValueBox<(spans: [Span], heads: [String], problems: [String])>(([], [], []))

    package init() {}

    package var spans: [Span] { got.withLockedValue { $0.spans } }
    package var heads: [String] { got.withLockedValue { $0.heads } }
    /// What was sent and is no OTLP.
    package var problems: [String] { got.withLockedValue { $0.problems } }

    /// For a `RawServer`. 200 to everything that can be read.
    package var script: RawServer.Script {
        { connection in
            while let request = try await connection.request() {
                self.take(request)
                try await connection.send("HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}")
            }
        }
    }

    package func take(_ request: RawConnection.Request) {
        var problems: [String] = []
        if !request.head.hasPrefix("POST ") { problems.append(request.head) }
        if !request.head.lowercased().contains("content-type: application/json") { problems.append("content-type") }
        got.withLockedValue { got in
            got.heads.append(request.head)
            got.problems += problems
        }
        take(Array(buffer: request.body))
    }

    package func take(_ json: [UInt8]) {
        let body = Data(json)
        var (spans, problems): ([Span], [String]) = ([], [])
        do {
            let sent = try JSONDecoder().decode(Sent.self, from: body)
            for resource in sent.resourceSpans {
                let common = Self.attributes(resource.resource.attributes)
                for span in resource.scopeSpans.flatMap(\.spans) { spans.append(try Self.span(span, common)) }
            }
        } catch { problems.append("\(error)") }
        got.withLockedValue { got in
            got.spans += spans
            got.problems += problems
        }
    }

    private static func span(_ sent: Sent.Span, _ resource: [String: String]) throws -> Span {
        struct Wrong: Error { var what: String }
        func check(_ id: String, _ digits: Int) throws {
            guard id.utf8.count == digits, id.allSatisfy(\.isHexDigit), id.contains(where: { $0 != "0" }) else {
                throw Wrong(what: id)
            }
        }
        try check(sent.traceId, 32)
        try check(sent.spanId, 16)
        if let parent = sent.parentSpanId { try check(parent, 16) }
        guard let began = UInt64(sent.startTimeUnixNano), let ended = UInt64(sent.endTimeUnixNano), began <= ended else {
            throw Wrong(what: "times of \(sent.name)")
        }
        let keys = sent.attributes.map(\.key)
        guard Set(keys).count == keys.count else { throw Wrong(what: "\(sent.name) has an attribute twice: \(keys)") }
        return Span(
            trace: sent.traceId, id: sent.spanId, parent: sent.parentSpanId, name: sent.name, kind: sent.kind, began: began,
            ended: ended, error: sent.status?.code == 2 ? sent.status?.message ?? "" : nil, attributes: attributes(sent.attributes),
            resource: resource)
    }

    private static func attributes(_ sent: [Sent.Attribute]) -> [String: String] {
        Dictionary(sent.map { ($0.key, $0.value.text) }) { $1 }
    }
}

/// The message as the protocol has it.
private struct Sent: Decodable {
    struct Resource: Decodable {
        struct Attributes: Decodable { var attributes: [Attribute] }
        var resource: Attributes
        var scopeSpans: [Scope]
    }
    struct Scope: Decodable {
        struct Name: Decodable {
            var name: String
            var version: String
        }
        var scope: Name
        var spans: [Span]
    }
    struct Span: Decodable {
        struct Status: Decodable {
            var code: Int
            var message: String?
        }
        var traceId, spanId, name, startTimeUnixNano, endTimeUnixNano: String
        var parentSpanId: String?
        var kind: Int
        var attributes: [Attribute]
        var status: Status?
    }
    struct Attribute: Decodable {
        var key: String
        var value: Value
    }
    struct Value: Decodable {
        struct List: Decodable { var values: [Value] }
        var stringValue, intValue: String?
        var doubleValue: Double?
        var boolValue: Bool?
        var arrayValue: List?
        var text: String {
            stringValue ?? intValue ?? doubleValue.map { "\($0)" } ?? boolValue.map { "\($0)" }
                ?? arrayValue?.values.map(\.text).joined(separator: ",") ?? "?"
        }
    }

    var resourceSpans: [Resource]
}

import Foundation
import Testing

@testable import Telemetry

@Suite struct RuleTests {
    private static let header = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"

    @Test func `a traceparent is read and written as it was`() throws {
        let context = try #require(TraceContext(header: Self.header))
        #expect(context.header == Self.header)
        #expect(context.traceID == "0af7651916cd43dd8448eb211c80319c" && context.spanID == "b7ad6b7169203331" && context.isSampled)
        #expect(TraceContext(header: Self.header.dropLast() + "0")?.isSampled == false)
        let child = context.child()
        #expect(child.traceID == context.traceID && child.spanID != context.spanID && child.isSampled)
    }

    @Test(arguments: [
        "", "00", "00-0AF7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        "ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        "00-00000000000000000000000000000000-b7ad6b7169203331-01", "00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01",
        "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-more", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331",
        "01-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01x", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b716920333\u{e9}-01",
    ]) func `what is no traceparent begins a trace of its own`(header: String) {
        #expect(TraceContext(header: header) == nil)
    }

    @Test func `a version to come may say more, within bounds`() {
        let next = "01" + Self.header.dropFirst(2)
        #expect(TraceContext(header: next + "-what-comes")?.spanID == "b7ad6b7169203331")
        #expect(TraceContext(header: next + "-" + String(repeating: "x", count: 500)) == nil)
    }

    @Test func `a ratio takes that part of the traces, and always the same ones`() {
        let ids = (0..<20_000).map { _ in UInt64.random(in: 0 ... .max) }
        for ratio in [0.0, 0.1, 0.5, 1.0] {
            let taken = ids.filter { Sampler(ratio: ratio).takes(low: $0) }.count
            #expect(abs(Double(taken) - ratio * 20_000) < 600, "\(ratio): \(taken)")
        }
        #expect(ids.allSatisfy { !Sampler(ratio: 0.1).takes(low: $0) || Sampler(ratio: 0.5).takes(low: $0) })
    }

    @Test func `a batch is tried again where the collector may take it later, with growing pauses, and not for ever`() {
        let rule = ExportRule(pause: .seconds(1))
        #expect(rule.verdict(status: 200, retryAfter: nil, attempts: 1) == .accepted)
        #expect(rule.verdict(status: 204, retryAfter: nil, attempts: 9) == .accepted)
        for status in [400, 401, 404, 413, 500, 301] {
            #expect(rule.verdict(status: status, retryAfter: 5, attempts: 1) == .refused, "\(status)")
        }
        for status in [429, 502, 503, 504, nil] {
            #expect(rule.verdict(status: status, retryAfter: nil, attempts: 1) == .again(after: .seconds(1)))
        }
        #expect(rule.verdict(status: nil, retryAfter: nil, attempts: 4) == .again(after: .seconds(8)))
        #expect(rule.verdict(status: nil, retryAfter: nil, attempts: 9) == .again(after: .seconds(60)))
        #expect(rule.verdict(status: nil, retryAfter: nil, attempts: ExportRule.mostAttempts) == .refused)
        #expect(rule.verdict(status: 429, retryAfter: 7, attempts: 1) == .again(after: .seconds(7)))
        #expect(rule.verdict(status: 429, retryAfter: 90_000, attempts: 1) == .again(after: .seconds(300)))
    }

    @Test func `whatever a name or value has in it is JSON`() throws {
        var span = Span(.init(high: 1, low: 2, span: 3, isSampled: true), parent: 4, name: "a \"b\"\\ \n\u{1}é😀", kind: .client)
        span.set("text", "line\r\nend\t\"\\")
        span.set("long", String(repeating: "é", count: 4000))
        span.set("number", -7)
        span.set("ratio", .infinity)
        span.set("list", ["x\"", "y"])
        span.set("absent", nil as String?)
        span.fail("some\"thing")
        span.end()
        let bytes = SpanJSON.request([span, span], resource: [("service.name", "slip\"way")], version: "1")
        let object = try JSONSerialization.jsonObject(with: Data(bytes)) as? [String: Any]
        let scope = ((object?["resourceSpans"] as? [[String: Any]])?.first?["scopeSpans"] as? [[String: Any]])?.first
        let spans = try #require(scope?["spans"] as? [[String: Any]])
        #expect(spans.count == 2 && spans[0]["name"] as? String == "a \"b\"\\ \n\u{1}é😀")
        #expect(spans[0]["traceId"] as? String == "00000000000000010000000000000002")
        #expect(spans[0]["parentSpanId"] as? String == "0000000000000004" && spans[0]["kind"] as? Int == 3)
        let attributes = try #require(spans[0]["attributes"] as? [[String: Any]])
        #expect(attributes.map { $0["key"] as? String } == ["text", "long", "number", "ratio", "list", "error.type"])
        let long = (attributes[1]["value"] as? [String: Any])?["stringValue"] as? String
        #expect((long?.utf8.count).map { $0 <= Span.longestText + 3 } == true)
        #expect((attributes[2]["value"] as? [String: Any])?["intValue"] as? String == "-7")
    }
}

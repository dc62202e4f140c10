import Core
import Foundation
import HTTPTransport
import Logging
import NIOConcurrencyHelpers
import NIOCore
import TestSupport
import Testing

@testable import Telemetry

@Suite struct ExporterTests {
    private static let quiet = Logger(label: "test") { _ in SwiftLogNoOpLogHandler() }

    /// A tracer whose spans go over a socket to whatever `url` is.
    private struct Line: Sendable {
        let metrics = Metrics()
        let queue: SpanQueue
        let tracer: Tracer
        let exporter: SpanExporter

        init(_ url: String, _ transport: HTTPTransport, capacity: Int = 100, batch: Int = 10, patience: Duration = .seconds(10)) {
            queue = SpanQueue(capacity: capacity, batch: batch, metrics: metrics)
            tracer = Tracer(queue)
            var schedule = SpanExporter.Schedule()
            (schedule.interval, schedule.batch, schedule.pause) = (.milliseconds(20), batch, .milliseconds(20))
            exporter = SpanExporter(
                queue, resource: [("service.name", "test")], version: "1", schedule: schedule, logger: ExporterTests.quiet
            ) { json in
                let answer = try await transport.send(
                    HTTPClientRequest(
                        method: "POST", url: url, headers: [(name: "content-type", value: "application/json")],
                        body: ByteBuffer(bytes: json), timeouts: .init(firstByte: patience), allowPrivateAddresses: true))
                let body = try await answer.body.collect(upTo: 1 << 16)
                return .init(
                    status: answer.status, retryAfter: answer.header("retry-after").flatMap { Int($0) },
                    body: Data(Array(buffer: body)))
            }
        }

        func make(_ count: Int, from first: Int = 0) {
            for number in first..<(first + count) { tracer.end(tracer.begin("span \(number)", in: nil)) }
        }

        func count(_ result: String) -> Double {
            metrics.counter("slipway_telemetry_spans_total", "", labels: ["result"]).value([result])
        }
    }

    private func with(
        _ script: @escaping RawServer.Script, capacity: Int = 100, batch: Int = 10, patience: Duration = .seconds(10),
        _ body: (Line) async throws -> Void
    ) async throws {
        try await RawServer.with(script) { server in
            let transport = HTTPTransport(logger: Self.quiet)
            let line = Line(server.url, transport, capacity: capacity, batch: batch, patience: patience)
            let running = Task { await line.exporter.run() }
            do { try await body(line) } catch {
                running.cancel()
                await transport.shutdown()
                throw error
            }
            running.cancel()
            await running.value
            await transport.shutdown()
        }
    }

    @Test func `every span arrives once, in batches, with its time and its parent`() async throws {
        let collector = TraceCollector()
        let before = WallNanoseconds.now.value
        try await with(collector.script, capacity: 1000, batch: 10) { line in
            var outer = line.tracer.begin(
                "outer", .server, in: TraceContext(header: "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"))
            outer.set("number", 5)
            line.tracer.end(line.tracer.begin("inner", in: outer.context))
            line.tracer.end(outer)
            line.make(95)
            try await eventually("all spans") { collector.spans.count >= 97 }
            await line.exporter.close(within: .seconds(10))
            #expect(line.count("exported") == 97 && line.count("dropped") == 0 && line.count("rejected") == 0)
        }
        let spans = collector.spans
        #expect(collector.problems == [] && Set(spans.map(\.id)).count == 97)
        let outer = try #require(spans.first { $0.name == "outer" })
        let inner = try #require(spans.first { $0.name == "inner" })
        #expect(outer.trace == "0af7651916cd43dd8448eb211c80319c" && outer.parent == "b7ad6b7169203331")
        #expect(inner.parent == outer.id && inner.trace == outer.trace && outer["number"] == "5" && outer.kind == 2)
        #expect(outer.began >= before && outer.ended <= WallNanoseconds.now.value && inner.began >= outer.began)
        #expect(outer.resource == ["service.name": "test"])
        #expect(spans.filter { $0.parent == nil }.count == 95 && Set(spans.map(\.trace)).count == 96)
    }

    @Test func `what was not taken is sent again until it is, in the same order`() async throws {
        let collector = TraceCollector()
        let turns = NIOLockedValueBox(0)
        try await with({ connection in
            while let request = try await connection.request() {
                let turn = turns.withLockedValue { turns in
                    turns += 1
                    return turns
                }
                guard turn > 3 else {
                    try await connection.send("HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n")
                    continue
                }
                collector.take(request)
                try await connection.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}")
            }
        }) { line in
            line.make(30)
            try await eventually("all spans") { collector.spans.count >= 30 }
            #expect(collector.spans.map(\.name) == (0..<30).map { "span \($0)" })
            try await eventually("all counted") { line.count("exported") == 30 }
            #expect(line.count("dropped") == 0)
        }
        #expect(turns.withLockedValue { $0 } >= 6)
    }

    @Test func `a collector that refuses a batch gets the next one, and what it refuses in part is counted`() async throws {
        let turns = NIOLockedValueBox(0)
        try await with({ connection in
            while try await connection.request() != nil {
                let turn = turns.withLockedValue { turns in
                    turns += 1
                    return turns
                }
                let body = turn == 1 ? "{}" : #"{"partialSuccess":{"rejectedSpans":"4","errorMessage":"too old"}}"#
                try await connection.send(
                    "HTTP/1.1 \(turn == 1 ? "400 Bad Request" : "200 OK")\r\nContent-Length: \(body.utf8.count)\r\n\r\n\(body)")
            }
        }) { line in
            line.make(20)
            try await eventually("both are counted") { line.count("exported") + line.count("rejected") == 20 }
            #expect(line.count("exported") == 6 && line.count("rejected") == 14)
        }
    }

    @Test func `a collector that hangs costs those who end spans nothing, and what has no room is counted`() async throws {
        let asked = Signal()
        try await with(
            { connection in
                _ = try await connection.request()
                asked.fire()
                await connection.untilClosed()
            }, capacity: 50, batch: 10, patience: .seconds(60)
        ) { line in
            line.make(10)
            await asked.wait()
            // The exporter waits for the answer; nobody else does.
            let time = ContinuousClock().measure { line.make(10_000, from: 10) }
            #expect(time < .seconds(5))
            #expect(line.queue.count == 50 && line.count("dropped") == 9_950)
            // The end does not wait for it either.
            let end = await ContinuousClock().measure { await line.exporter.close(within: .milliseconds(200)) }
            #expect(end < .seconds(5))
        }
    }

    @Test func `what is left when the exporter is ended is counted as dropped`() async throws {
        let asked = Signal()
        let metrics = NIOLockedValueBox<Line?>(nil)
        try await with(
            { connection in
                _ = try await connection.request()
                asked.fire()
                await connection.untilClosed()
            }, capacity: 50
        ) { line in
            metrics.withLockedValue { $0 = line }
            line.make(25)
            await asked.wait()
        }
        let line = try #require(metrics.withLockedValue { $0 })
        #expect(line.count("dropped") == 25 && line.count("exported") == 0 && line.queue.count == 0)
    }

    @Test func `a dead collector is tried again, and takes what is there when it is back`() async throws {
        let transport = HTTPTransport(logger: Self.quiet)
        let (port, first) = (NIOLockedValueBox(0), TraceCollector())
        try await RawServer.with(first.script) { server in port.withLockedValue { $0 = server.port } }
        // Nobody listens there any more.
        let line = Line("http://127.0.0.1:\(port.withLockedValue { $0 })/", transport)
        let running = Task { await line.exporter.run() }
        line.make(15)
        try await eventually("an attempt was made") { line.queue.count < 15 }
        let end = await ContinuousClock().measure { await line.exporter.close(within: .seconds(5)) }
        await running.value
        #expect(end < .seconds(5))
        #expect(line.count("dropped") == 15 && first.spans.isEmpty)
        await transport.shutdown()
    }

    @Test func `closing sends what waits`() async throws {
        let collector = TraceCollector()
        try await with(collector.script, batch: 1000) { line in
            line.make(7)
            await line.exporter.close(within: .seconds(10))
            #expect(collector.spans.count == 7 && line.count("exported") == 7)
        }
    }

    @Test func `a trace that its caller does not record is not exported, but has its ids`() async throws {
        let collector = TraceCollector()
        try await with(collector.script) { line in
            let span = line.tracer.begin("x", in: TraceContext(header: "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00"))
            #expect(span.context.header.hasSuffix("-00") && span.context.traceID == "0af7651916cd43dd8448eb211c80319c")
            line.tracer.end(span)
            line.make(1)
            await line.exporter.close(within: .seconds(10))
            #expect(collector.spans.map(\.name) == ["span 0"])
        }
    }
}

import Core
import Foundation
import Logging
import Telemetry
import TestSupport
import Testing

@testable import AgentLoop

@Suite(.serialized) struct TaskTraceTests {
    @Test func `a task is one trace: a stretch of work, its steps, and what was done in them`() async throws {
        let collector = TraceCollector()
        try await Bench.with(TaskRunTests.change) { bench in
            let queue = SpanQueue(metrics: Metrics())
            let exporter = SpanExporter(queue, resource: [], version: "1", logger: .silent) { json in
                collector.take(json)
                return .init(status: 200)
            }
            let running = Task { await exporter.run() }
            let task = try await bench.create()
            _ = try await bench.working(bench.worker { $0.tracer = Tracer(queue) }) { try await bench.untilEnd(task.id) }
            await exporter.close(within: .seconds(30))
            await running.value
            let spans = collector.spans
            #expect(collector.problems == [])
            #expect(Set(spans.map(\.trace)) == [task.id.description.filter { $0 != "-" }])
            let stretch = try #require(spans.first { $0.name == "invoke_agent slipway" })
            #expect(stretch.parent == nil && stretch.error == nil)
            #expect(stretch["gen_ai.conversation.id"] == task.id.description && stretch["gen_ai.agent.name"] == "slipway")
            let steps = spans.filter { $0.name.hasPrefix("step ") }.sorted { $0.began < $1.began }
            #expect(steps.map(\.name) == ["step 1", "step 2", "step 3", "step 4"] && steps.allSatisfy { $0.parent == stretch.id })
            #expect(steps.map(\.ended).enumerated().dropFirst().allSatisfy { steps[$0.offset].began >= steps[$0.offset - 1].began })
            let tools = spans.filter { $0.name.hasPrefix("execute_tool ") }.sorted { $0.began < $1.began }
            #expect(tools.map(\.name) == ["read_file", "search", "edit_file", "execute"].map { "execute_tool \($0)" })
            #expect(tools.map(\.parent) == [steps[0].id, steps[0].id, steps[1].id, steps[2].id])
            #expect(tools[3]["process.exit.code"] == "3" && tools[0]["gen_ai.operation.name"] == "execute_tool")
            #expect(spans.contains { $0.name == "open workspace" && $0.parent == stretch.id })
            #expect(spans.contains { $0.name == "save work" })
            // Each span reads two clocks at its beginning, one after the other.
            let between: UInt64 = 1_000_000
            let outside = spans.filter { $0.began + between < stretch.began || $0.ended > stretch.ended + between }
            #expect(outside.isEmpty, "\(stretch.began)-\(stretch.ended): \(outside.map { "\($0.name) \($0.began)-\($0.ended)" })")
            // The model is asked inside of its step.
            #expect(bench.model.calls.map { $0.trace?.spanID } == steps.map(\.id))
            #expect(!"\(spans)".contains("greeting"))
        }
    }

    @Test func `a name that a model made up is in no span, and a failed tool says so`() async throws {
        let collector = TraceCollector()
        let script: [ScriptedModel.Reply] = [
            .answer(.calls(("steal_secrets", [:]), ("read_file", ["path": .string("nowhere.txt")]))), .answer(.text("Done.")),
        ]
        try await Bench.with(script) { bench in
            let queue = SpanQueue(metrics: Metrics())
            let exporter = SpanExporter(queue, resource: [], version: "1", logger: .silent) { json in
                collector.take(json)
                return .init(status: 200)
            }
            let running = Task { await exporter.run() }
            let task = try await bench.create()
            _ = try await bench.working(bench.worker { $0.tracer = Tracer(queue) }) { try await bench.untilEnd(task.id) }
            await exporter.close(within: .seconds(30))
            await running.value
            #expect(!"\(collector.spans)".contains("steal_secrets"))
            let read = try #require(collector.spans.first { $0.name == "execute_tool read_file" })
            #expect(read.error == "tool_error" && read["error.type"] == "tool_error")
        }
    }
}

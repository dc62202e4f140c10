import Core
import ModelAPI
import Telemetry

/// The span of one call of a registered server's tool. Arguments and results are not in it.
struct ToolTrace: Sendable {
    private let tracer: Tracer
    private let begun: Span

    init(_ tracer: Tracer, _ record: ToolCallRecord, in parent: TraceContext?) {
        self.tracer = tracer
        let name = record.server + MCP.separator + record.tool
        var span = tracer.begin("execute_tool \(name)", .client, in: parent)
        if span.context.isSampled {
            span.set("gen_ai.operation.name", "execute_tool")
            span.set("gen_ai.tool.name", name)
            span.set("gen_ai.tool.type", "extension")
            span.set("gen_ai.tool.call.id", record.toolUseID ?? record.id.uuidString.lowercased())
            span.set("mcp.method.name", "tools/call")
            span.set("slipway.tool.server", record.server)
            span.set("slipway.policy.rule", record.rule)
            span.set("slipway.request.id", record.requestID)
            span.set("slipway.client", record.client)
            span.set("slipway.task.id", record.task?.description)
        }
        begun = span
    }

    func ended(_ status: ToolResultRecord.Status) {
        var span = begun
        if status != .ok { span.fail(status.rawValue) }
        tracer.end(span)
    }
}

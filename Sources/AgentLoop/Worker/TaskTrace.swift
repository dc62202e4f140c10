import Core
import NIOConcurrencyHelpers
import Telemetry

/// The spans of one owner's work on a task, from its lease until the task rests: the stretch itself, its steps, and what was done in
/// them. The trace's id is the task's, so that stretches of several owners are one trace. What people and models wrote is in none.
final class TaskTrace: Sendable {
    private struct State {
        var step: Span?
        var isOver = false
    }

    private let tracer: Tracer
    private let stretch: Span
    private let state = NIOLockedValueBox(State())

    init(_ tracer: Tracer, task: TaskID, model: String) {
        self.tracer = tracer
        let (high, low) = task.halves
        var span = tracer.begin("invoke_agent slipway", high: high, low: low)
        span.set("gen_ai.operation.name", "invoke_agent")
        span.set("gen_ai.agent.name", "slipway")
        span.set("gen_ai.conversation.id", task.description)
        span.set("gen_ai.request.model", model)
        span.set("slipway.task.id", task.description)
        stretch = span
    }

    /// Whose children what happens now is.
    var context: TraceContext { state.withLockedValue { $0.step?.context } ?? stretch.context }

    /// Ends the step before it.
    func begin(_ step: StepRef) {
        var span = tracer.begin("step \(step.number)", in: stretch.context)
        span.set("slipway.task.step", step.number)
        span.set("slipway.task.attempt", step.attempt)
        let (before, isOver) = state.withLockedValue { state in
            defer { state.step = state.isOver ? nil : span }
            return (state.step, state.isOver)
        }
        if let before { tracer.end(before) }
        if isOver { tracer.end(span) }
    }

    /// Around a part of a step.
    func within<Value>(
        _ name: String, _ body: () async throws -> Value, _ describe: (inout Span, Value) -> Void = { _, _ in }
    ) async rethrows -> Value {
        var span = tracer.begin(name, in: context)
        do {
            let value = try await body()
            describe(&span, value)
            tracer.end(span)
            return value
        } catch {
            span.fail(error is CancellationError ? "cancelled" : (error as? AppError)?.code.rawValue ?? "internal")
            tracer.end(span)
            throw error
        }
    }

    /// Around a call of a tool. A name that a model has made up is not told.
    func calling<Outcome>(_ call: TaskSnapshot.Call, _ body: () async throws -> (CallOutcome, Outcome)) async rethrows -> (
        CallOutcome, Outcome
    ) {
        let tool = ToolName(tolerant: call.tool)?.rawValue ?? "unknown"
        return try await within("execute_tool \(tool)", body) { span, value in
            span.set("gen_ai.operation.name", "execute_tool")
            span.set("gen_ai.tool.name", tool)
            span.set("gen_ai.tool.type", "function")
            span.set("gen_ai.tool.call.id", call.id.description)
            switch value.0 {
            case .result(let result):
                span.set("process.exit.code", result.exitCode)
                if result.isError { span.fail("tool_error") }
            case .workspaceLost: span.fail("workspace_lost")
            case .abandoned: span.fail("abandoned")
            case .needsApproval: span.fail("needs_approval")
            }
        }
    }

    /// To be called once, when the owner lets go of the task.
    func end() {
        let step = state.withLockedValue { state in
            defer { (state.step, state.isOver) = (nil, true) }
            return state.step
        }
        if let step { tracer.end(step) }
        tracer.end(stretch)
    }
}

extension Optional where Wrapped == TaskTrace {
    /// `body` alone where nothing is traced.
    func within<Value>(_ name: String, _ body: () async throws -> Value) async rethrows -> Value {
        guard let self else { return try await body() }
        return try await self.within(name, body) { _, _ in }
    }
}

extension TaskID {
    /// As the two halves of a trace's id.
    fileprivate var halves: (high: UInt64, low: UInt64) {
        withUnsafeBytes(of: uuid.uuid) { bytes in
            (bytes.loadUnaligned(as: UInt64.self).bigEndian, bytes.loadUnaligned(fromByteOffset: 8, as: UInt64.self).bigEndian)
        }
    }
}

import Core
import ModelAPI

extension StepPerformer {
    mutating func commitAnswer(_ step: StepRef, _ answer: ModelAnswer, _ record: AnswerRecord, _ next: StepAction?)
        async throws
    {
        var entries: [Transcript.Entry] = []
        let last = snapshot.transcript.lastPosition
        if record.isKept {
            entries.append(
                .init(position: last + 1, kind: .answer, step: step.number, content: answer.blocks.map(ContentBlock.answer)))
        }
        if let remark = record.remark {
            entries.append(.init(position: last + entries.count + 1, kind: .remark, content: [.text(remark)]))
        }
        let rows = record.calls.map {
            StepStore.CallRow(id: CallID(), call: $0, hasEffect: ToolName(tolerant: $0.call.tool)?.hasEffect ?? false)
        }
        try await recording {
            try await store.commitAnswer(
                lease,
                .init(
                    step: step, answer: answer, entries: entries, calls: rows, remark: record.remark,
                    nudges: machine.position.nudges, totalCost: machine.position.cost, starting: starting(next, among: rows)))
        }
        for entry in entries { snapshot.transcript.append(entry) }
        for row in rows {
            let call = row.call
            snapshot.calls[call.number] = TaskSnapshot.Call(
                id: row.id, number: call.number, step: step.number, tool: call.call.tool, arguments: call.call.arguments,
                isStarted: false,
                isEnded: call.dismissal != nil, hasEffect: row.hasEffect, cursor: 0, modelID: call.call.modelID)
            if let text = call.dismissal { result(of: call.number, text, isError: true) }
        }
        noteStarted(starting(next))
        changed(.events)
    }
}

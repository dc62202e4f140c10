import Core

extension Fitting {
    // MARK: Anthropic

    mutating func fitForMessages() {
        let model = ClaudeModel(conversation.model)
        conversation.maxOutputTokens = conversation.maxOutputTokens ?? defaultMaxOutputTokens
        if conversation.parallelToolCalls == true || conversation.tools.isEmpty { conversation.parallelToolCalls = nil }
        dropPenalties()
        if let number = conversation.sampling.temperature, number.value > 1 {
            losses.note("temperature")
            conversation.sampling.temperature = JSONNumber("1")
        }
        fitThinking(model)
        if !model.takesSampling || conversation.thinkingBudget != nil || conversation.effort != nil {
            dropSampling()
        } else if !model.takesTemperatureAndTopP, conversation.sampling.temperature != nil, conversation.sampling.topP != nil {
            losses.note("top_p")
            conversation.sampling.topP = nil
        }
        let stops = conversation.stopSequences.filter { !$0.isBlank }
        if stops.count < conversation.stopSequences.count { noteStops() }
        conversation.stopSequences = stops
        if case .jsonSchema? = conversation.format, model.takesSchema { return }
        dropFormat()
    }

    /// Thinking must not be forced to call a tool, needs room, and inside a tool loop needs the thoughts that led into it.
    private mutating func fitThinking(_ model: ClaudeModel) {
        guard conversation.thinkingBudget != nil || conversation.effort != nil else { return }
        let budget = conversation.thinkingBudget ?? conversation.effort?.budget ?? 0
        let effort = conversation.effort ?? Effort(budget: budget)
        conversation.thinkingBudget = nil
        conversation.effort = nil
        if effort == .none { return }
        let isForced = conversation.toolChoice != .auto && conversation.toolChoice != .none
        if !model.thinks || isForced || isInsideUnthoughtLoop { return noteEffort() }
        if model.thinksAdaptively {
            conversation.effort = effort == .minimal ? .low : effort
            return
        }
        let room = conversation.maxOutputTokens ?? 0
        if room < 2048 { return noteEffort() }
        conversation.thinkingBudget = max(1024, min(budget, room / 2))
    }

    /// Whether the turn under way began to call tools without thinking that can be shown again.
    private var isInsideUnthoughtLoop: Bool {
        guard let answer = conversation.messages.lastIndex(where: { $0.role == .assistant }) else { return false }
        let calls = conversation.messages[answer].content.contains { if case .answer(.toolUse) = $0 { true } else { false } }
        let isAnswered = conversation.messages[(answer + 1)...].contains {
            $0.content.contains { if case .text = $0 { true } else { false } }
        }
        if !calls || isAnswered { return false }
        return !conversation.messages[answer].content.contains {
            switch $0 {
            case .answer(.thinking(_, let signature?)): Signature.origin(signature) == .messages
            case .answer(.redactedThinking): true
            default: false
            }
        }
    }

    /// What all models behind `Converse` take; what single ones take besides is not asked for.
    mutating func fitForConverse() {
        if conversation.thinkingBudget != nil || conversation.effort.map({ $0 != Effort.none }) == true { noteEffort() }
        conversation.thinkingBudget = nil
        conversation.effort = nil
        dropPenalties()
        if let number = conversation.sampling.topK { dropTopK(number) }
        if let number = conversation.sampling.temperature, number.value > 1 {
            losses.note("temperature")
            conversation.sampling.temperature = JSONNumber("1")
        }
        dropFormat()
        if conversation.parallelToolCalls == false {
            note(messages: "tool_choice.disable_parallel_tool_use", chat: "parallel_tool_calls")
        }
        if conversation.toolChoice == .none, !conversation.tools.isEmpty {
            losses.note("tool_choice")
            conversation.toolChoice = .auto
        }
        if conversation.sessionID != nil { note(messages: "metadata.user_id", chat: "prompt_cache_key") }
        if conversation.user != nil { note(messages: "metadata.user_id", chat: "user") }
        if conversation.tools.isEmpty { conversation.tools = calledTools }
    }

    /// `Converse` refuses calls and results of the past where no tool is defined: of tools that were called and are no longer offered, it
    /// gets the names.
    private var calledTools: [ToolSchema] {
        var names: Set<String> = []
        var tools: [ToolSchema] = []
        for block in conversation.messages.flatMap(\.content) {
            guard case .answer(.toolUse(_, let name, _, _)) = block, names.insert(name).inserted else { continue }
            tools.append(
                ToolSchema(
                    name: ToolNames.fitting(name, limit: 64), description: "Was called before; no longer offered.",
                    checked: #"{"type":"object"}"#))
        }
        return tools
    }

    // MARK: OpenAI

    mutating func fitForChat() {
        let reasons = Conversation.namesCompletionTokens(conversation.model)
        fitEffort(takes: reasons || conversation.model.contains("gpt-oss"))
        if let number = conversation.sampling.topK { dropTopK(number) }
        if reasons {
            dropSampling()
            dropPenalties(keepsSeed: true)
            if !conversation.stopSequences.isEmpty {
                noteStops()
                conversation.stopSequences = []
            }
        } else if conversation.stopSequences.count > 4 {
            noteStops()
            conversation.stopSequences = Array(conversation.stopSequences.prefix(4))
        }
        if conversation.tools.isEmpty { conversation.parallelToolCalls = nil }
        fitIDs(takes: reasons)
    }

    mutating func fitForResponses() {
        fitEffort(takes: Conversation.namesCompletionTokens(conversation.model))
        if let number = conversation.sampling.topK { dropTopK(number) }
        dropPenalties()
        if Conversation.namesCompletionTokens(conversation.model) { dropSampling() }
        if !conversation.stopSequences.isEmpty {
            noteStops()
            conversation.stopSequences = []
        }
        // The least that it takes.
        if let limit = conversation.maxOutputTokens, limit < 16 { conversation.maxOutputTokens = 16 }
        if conversation.tools.isEmpty { conversation.parallelToolCalls = nil }
        fitIDs(takes: true)
    }

    private mutating func fitEffort(takes: Bool) {
        if let budget = conversation.thinkingBudget, conversation.effort == nil { conversation.effort = Effort(budget: budget) }
        conversation.thinkingBudget = nil
        if conversation.effort == Effort.none { conversation.effort = nil }
        if conversation.effort == .max { conversation.effort = .xhigh }
        // The oldest of them know three words.
        if conversation.effort == .xhigh, !conversation.model.contains("gpt-5.") { conversation.effort = .high }
        if conversation.effort != nil, !takes {
            noteEffort()
            conversation.effort = nil
        }
    }

    /// OpenAI refuses ids of more than 64 characters, such as Claude Code's.
    private mutating func fitIDs(takes: Bool) {
        if !takes {
            if conversation.sessionID != nil { note(messages: "metadata.user_id", chat: "prompt_cache_key") }
            if conversation.user != nil { note(messages: "metadata.user_id", chat: "user") }
            conversation.sessionID = nil
            conversation.user = nil
        }
        if let id = conversation.sessionID, id.utf8.count > 64 { conversation.sessionID = "session-" + ToolNames.hash(id) }
        if let id = conversation.user, id.utf8.count > 64 { conversation.user = "user-" + ToolNames.hash(id) }
    }

    // MARK: Gemini

    mutating func fitForGemini() {
        let namesLevels = conversation.model.contains("gemini-3")
        if namesLevels {
            if let budget = conversation.thinkingBudget { conversation.effort = Effort(budget: budget) }
            conversation.thinkingBudget = nil
            switch conversation.effort {
            case .xhigh?, .max?: conversation.effort = .high
            case Effort.none?: conversation.effort = nil
            default: break
            }
        } else {
            let budget = conversation.thinkingBudget ?? conversation.effort?.budget
            conversation.effort = nil
            // Not every model can be told to think nothing.
            conversation.thinkingBudget = budget.flatMap { $0 > 0 ? min($0, 24_576) : nil }
            if conversation.thinkingBudget != nil, !conversation.model.contains("gemini-2.5") {
                noteEffort()
                conversation.thinkingBudget = nil
            }
        }
        if conversation.parallelToolCalls == false {
            note(messages: "tool_choice.disable_parallel_tool_use", chat: "parallel_tool_calls")
        }
        if conversation.sessionID != nil { note(messages: "metadata.user_id", chat: "prompt_cache_key") }
        if conversation.user != nil { note(messages: "metadata.user_id", chat: "user") }
        if conversation.stopSequences.count > 5 {
            noteStops()
            conversation.stopSequences = Array(conversation.stopSequences.prefix(5))
        }
    }

    // MARK: What goes, under the client's names

    private mutating func noteEffort() { note(messages: "thinking", chat: "reasoning_effort", responses: "reasoning.effort") }
    private mutating func noteStops() { note(messages: "stop_sequences", chat: "stop") }

    private mutating func dropFormat() {
        if conversation.format == nil { return }
        note(messages: "output_config.format", chat: "response_format", responses: "text.format")
        conversation.format = nil
    }

    private mutating func dropTopK(_ number: JSONNumber) {
        losses.note("top_k")
        conversation.sampling.topK = nil
    }

    /// What says only what is so anyway is no loss.
    private mutating func dropSampling() {
        if let number = conversation.sampling.temperature, number.value != 1 { losses.note("temperature") }
        if let number = conversation.sampling.topP, number.value != 1 { losses.note("top_p") }
        if conversation.sampling.topK != nil { losses.note("top_k") }
        conversation.sampling.temperature = nil
        conversation.sampling.topP = nil
        conversation.sampling.topK = nil
    }

    private mutating func dropPenalties(keepsSeed: Bool = false) {
        if let number = conversation.sampling.frequencyPenalty, number.value != 0 { losses.note("frequency_penalty") }
        if let number = conversation.sampling.presencePenalty, number.value != 0 { losses.note("presence_penalty") }
        conversation.sampling.frequencyPenalty = nil
        conversation.sampling.presencePenalty = nil
        if keepsSeed { return }
        if conversation.sampling.seed != nil { losses.note("seed") }
        conversation.sampling.seed = nil
    }
}

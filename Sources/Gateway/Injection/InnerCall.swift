import Core
import HTTPTransport
import ModelAPI
import NIOCore

/// A client's call into which tools are injected: the model's calls of them are run here, and their results go back to it, until it has
/// said all. Each round is a call of its own, with its own record, hold and row in the ledger.
struct InnerCall: Sendable {
    /// Rounds in which the model may call injected tools; one more follows, in which it may only speak.
    static let mostRounds = 10
    /// Calls of injected tools in one answer; further ones are answered with an error.
    static let mostCalls = 32

    let gateway: Gateway
    let call: GatewayCall
    let tools: InjectedTools
    let caller: ToolGateway.Caller
    /// Servers whose tools could not be had.
    let missing: [String]

    private(set) var request: InjectedRequest
    private(set) var answer: InjectedAnswer
    /// What was added to the conversation since the client's own last message.
    private var added: [String] = []
    private var texts: [String] = []
    private var rounds = 1
    private var isLast = false
    /// Responses: the provider's id of the answer before this one, and the results that it waits for.
    private var former: (response: String?, waiting: [String]) = (nil, [])

    init(
        _ gateway: Gateway, _ call: GatewayCall, _ request: InjectedRequest, _ tools: InjectedTools, _ caller: ToolGateway.Caller,
        missing: [String]
    ) {
        self.gateway = gateway
        self.call = call
        self.request = request
        self.tools = tools
        self.caller = caller
        self.missing = missing
        answer = InjectedAnswer(request, tools, streamed: true)
    }

    /// The client's answer. Like `Gateway.call` it never throws.
    consuming func answer() async -> GatewayAnswer {
        var first = await gateway.call(made(id: call.id))
        first.headers.append((name: InjectionOffer.header, value: Set(tools.all.map(\.server)).sorted().joined(separator: ",")))
        if !missing.isEmpty { first.headers.append((name: "x-slipway-tools-missing", value: missing.joined(separator: ","))) }
        if first.status >= 300 { return first }
        guard first.body.whole != nil else {
            answer.begin()
            return GatewayAnswer(status: first.status, headers: first.headers, body: GatewayBody(InnerStream(self, first.body)))
        }
        answer = InjectedAnswer(request, tools, streamed: false)
        var latest = first
        while true {
            answer.begin()
            do { for await chunk in latest.body { _ = try answer.take(chunk) } } catch { return refused(error) }
            let round = answer.endRound()
            guard let next = await follow(round) else {
                return GatewayAnswer(status: first.status, headers: first.headers, body: GatewayBody(answer.close()))
            }
            if next.status >= 300 { return next }
            latest = next
        }
    }

    private func made(id: InterceptionID) -> GatewayCall {
        var made = call
        made.id = id
        made.body = request.body
        made.injected = tools.names
        made.round = rounds
        return made
    }

    private func refused(_ error: AppError) -> GatewayAnswer {
        Refusal.answer(error, request.api, requestID: call.requestID, interception: call.id)
    }

    // MARK: A stream's rounds

    mutating func take(_ chunk: ByteBuffer) throws(AppError) -> ByteBuffer { try answer.take(chunk) }
    mutating func endRound() -> InjectedRound { answer.endRound() }
    mutating func begin() { answer.begin() }
    mutating func close() -> ByteBuffer { answer.close() }

    /// Runs what the model calls of the injected tools, and asks it again.
    ///
    /// - Returns: the answer of the next round; nil when it is the client's turn.
    mutating func follow(_ round: InjectedRound) async -> GatewayAnswer? {
        texts.append(round.text)
        let isWhole = round.isComplete && ![.maxTokens, .contextExceeded, .refusal].contains(round.stop)
        guard isWhole, !round.calls.isEmpty, !isLast || !round.clientCalls.isEmpty else {
            if isWhole, round.calls.isEmpty {
                if rounds > 1 { await remember(round, []) }
            } else if request.api == .responses, rounds > 1 || !round.calls.isEmpty {
                // The client can go on with it by its id: the provider then waits for results.
                await remember(round, round.calls.map { .init(id: $0.id, text: "It was not called.", isError: true) }, isCut: true)
            }
            return nil
        }
        let isAtLimit = rounds >= Self.mostRounds
        let results = await run(round.calls, isAtLimit: isAtLimit)
        guard round.clientCalls.isEmpty else {
            // The client's own calls come first: the model reads all results together, in the client's next request.
            await remember(round, results)
            return nil
        }
        if Task.isCancelled { return refused(AppError(.unavailable, "The call was cancelled.")) }
        former = (round.response, InjectedRound.elements(results, request.api))
        let elements = round.turn + former.waiting
        request.append(elements)
        added += elements
        rounds += 1
        if isAtLimit {
            isLast = true
            request.forbidTools()
        }
        return await gateway.call(made(id: InterceptionID()))
    }

    private func run(_ calls: [InjectedRound.Call], isAtLimit: Bool) async -> [InjectedRound.Result] {
        await withTaskGroup(of: (Int, MCPResultText).self) { group in
            for (index, call) in calls.enumerated() {
                if isAtLimit || index >= Self.mostCalls {
                    let reason =
                        isAtLimit
                        ? "It was not called: \(Self.mostRounds) rounds of tools are the limit of one request. Answer with what you know."
                        : "It was not called: at most \(Self.mostCalls) tools are called at once."
                    group.addTask { (index, MCPResultText(failure: reason)) }
                } else {
                    group.addTask { (index, await self.run(call)) }
                }
            }
            var results: [(Int, MCPResultText)] = []
            for await result in group { results.append(result) }
            return results.sorted { $0.0 < $1.0 }
                .map { .init(id: calls[$0.0].id, text: $0.1.text, isError: $0.1.isError) }
        }
    }

    private func run(_ call: InjectedRound.Call) async -> MCPResultText {
        guard let tool = tools[call.name] else { return MCPResultText(failure: "There is no tool '\(call.name.prefix(100))'.") }
        guard call.isWhole else { return MCPResultText(failure: "The arguments are no JSON object; call it again with one.") }
        var made: MCPToolCall
        do throws(MCPError) {
            var params = JSONObjectText()
            params["name"] = JSONText.quoted(tool.server + MCP.separator + tool.tool)
            params["arguments"] = call.arguments
            made = try MCPToolCall(params: params.text)
        } catch { return MCPResultText(failure: error.message) }
        made.toolUseID = String(call.id.prefix(200))
        switch await gateway.tools.called(made, caller) {
        case .success(let result): return MCPResultText(result)
        case .failure(let error): return MCPResultText(failure: MCPError(anything: error).message)
        }
    }

    // MARK: What the client does not see

    /// - Parameter isCut: the client can go on with it by its id alone; by what it saw it goes on with just that.
    private func remember(_ round: InjectedRound, _ results: [InjectedRound.Result], isCut: Bool = false) async {
        var turn = HiddenTurn()
        turn.elements = added + round.turn
        turn.response = round.response
        if request.api == .messages {
            turn.results = InjectedRound.blocks(results)
        } else {
            turn.waiting = InjectedRound.elements(results, request.api)
            turn.elements += turn.waiting
            // One that broke off before the provider told its id: the one before it waits still.
            if round.response == nil { (turn.response, turn.waiting) = former }
        }
        var keys: [String] = []
        // As the client sent it: that is what it sends again.
        if !isCut, let conversation = InjectedRequest(call.body, request.api)?.conversation,
            let key = TurnKey.key(calls: round.clientCalls, text: texts.joined(), in: conversation)
        {
            keys.append(key)
        }
        if request.api == .responses, let shown = answer.shownResponse { keys.append(TurnKey.key(response: shown)) }
        await gateway.hiddenTurns.keep(turn, keys, call.principal)
    }
}

extension Gateway {
    /// Nil: nothing is injected, and the call goes its usual way.
    ///
    /// - Throws: `badRequest` when the client asks for what there is not.
    func inner(
        _ call: GatewayCall, _ api: ModelProtocol, _ offers: [OrganizationID: InjectionOffer]
    ) async throws -> InnerCall? {
        guard call.injected == nil else { return nil }
        // Who has none is told so, too.
        let wanted = try (offers[call.principal.organization] ?? InjectionOffer()).wanted(call)
        if wanted.isEmpty { return nil }
        if call.body.readableBytes <= Self.largestInPlace { return try await inner(call, api, wanted) }
        // Reading it takes too long for the thread of many connections.
        return try await withTaskExecutorPreference(globalConcurrentExecutor) { try await inner(call, api, wanted) }
    }

    private func inner(_ call: GatewayCall, _ api: ModelProtocol, _ wanted: Set<String>) async throws -> InnerCall? {
        guard var request = InjectedRequest(call.body, api), request.asksForOneAnswer, !request.isOfConversation else { return nil }
        let client = ClientProgram.detect(headers: call.headers, metadataUserID: nil).client
        let session = await tools.sessions.ofModels(call.principal, client: client)
        let caller = ToolGateway.Caller(principal: call.principal, session: session, requestID: call.requestID)
        let (listed, missing) = try await tools.offered(caller, of: wanted)
        let injected = InjectedTools(listed, taken: request.toolNames)
        let without = injected.shutOut.union(missing.keys)
        if injected.isEmpty, without.isEmpty { return nil }
        if !injected.isEmpty { request.add(injected) }
        request.restore(await hiddenTurns.find(request.turnKeys, call.principal), upTo: HTTPClientRequest.maxBodyBytes)
        var made = call
        made.trace = nil
        return InnerCall(self, made, request, injected, caller, missing: without.sorted())
    }
}

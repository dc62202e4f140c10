import Foundation
import HTTPTypes
import Hummingbird
import Logging
import NIOCore

/// The providers' paths. Everything answered here carries `x-slipway-scripted: true`.
struct DemoRoutes: Sendable {
    let scenarios: ScenarioLibrary
    let speed: Double
    let logger: Logger

    static let maxBodyBytes = 32 << 20

    func add(to router: Router<BasicRequestContext>) {
        router.post("/v1/messages") { request, _ in await answer(request, .messages) }
        router.post("/v1/chat/completions") { request, _ in await answer(request, .chatCompletions) }
        router.post("/v1/messages/count_tokens") { request, _ in await countTokens(request) }
        router.get("/v1/models") { request, _ in models(request) }
        router.get("/v1/models/:id") { request, context in model(request, try context.parameters.require("id")) }
        router.get("/healthz") { _, _ in json(["status": "ok", "scripted": true]) }
    }

    // MARK: answers

    private func answer(_ request: Request, _ kind: DemoProtocol) async -> Response {
        do {
            let body = try await admit(request)
            let conversation = try kind == .messages ? MessagesRequest.read(body) : ChatRequest.read(body)
            guard scenarios.models.contains(conversation.model) else { throw unknownModel(conversation.model) }
            if kind == .messages, conversation.maxTokens == nil { throw RequestError.invalid("max_tokens: Field required") }
            let reply = scenarios.reply(to: conversation, model: conversation.model)
            let answer = DemoAnswer(reply, to: conversation, protocol: kind)
            logger.debug("scripted reply", metadata: ["model": "\(answer.model)", "id": "\(answer.id)", "stop": "\(answer.stop)"])
            if let fault = answer.fault {
                if fault.kind == .status { throw RequestError(fault) }
                if fault.kind == .silence { try await DemoPlay.hang() }
            }
            let play = DemoPlay(answer: answer, kind: kind, speed: speed)
            return conversation.isStreamed ? play.streamed() : play.whole()
        } catch {
            return failure(error, kind)
        }
    }

    private func countTokens(_ request: Request) async -> Response {
        do {
            let conversation = try MessagesRequest.read(try await admit(request))
            return json(["input_tokens": .int(DemoUsage.promptTokens(of: conversation))])
        } catch {
            return failure(error, .messages)
        }
    }

    /// Any key will do, but there must be one: a gateway that forgets it should notice.
    private func admit(_ request: Request) async throws -> Data {
        let key = request.headers[HTTPField.Name("x-api-key")!] ?? request.headers[.authorization] ?? ""
        guard key.count > 3 else {
            throw RequestError(
                status: 401, type: "authentication_error", message: "an API key is required; the demo model takes any")
        }
        guard let body = try? await request.body.collect(upTo: Self.maxBodyBytes) else {
            throw RequestError(status: 413, type: "request_too_large", message: "the request exceeds \(Self.maxBodyBytes) bytes")
        }
        return Data(buffer: body)
    }

    private func unknownModel(_ id: String) -> RequestError {
        RequestError(
            status: 404, type: "not_found_error",
            message: "model: \(id) is not a model of the scripted demo; it has \(ScenarioLibrary.model)")
    }

    private func failure(_ error: any Error, _ kind: DemoProtocol) -> Response {
        let error = error as? RequestError ?? RequestError(status: 500, type: "api_error", message: "\(error)")
        var response = json(kind == .messages ? MessagesAnswer.error(error) : ChatAnswer.error(error), status: error.status)
        if let seconds = error.retryAfterSeconds { response.headers[.retryAfter] = String(seconds) }
        return response
    }

    // MARK: models

    private func models(_ request: Request) -> Response {
        let entries = scenarios.models.map { entry($0, request) }
        if isAnthropic(request) {
            return json([
                "data": .array(entries), "has_more": false, "first_id": .string(scenarios.models.first ?? ""),
                "last_id": .string(scenarios.models.last ?? ""),
            ])
        }
        return json(["object": "list", "data": .array(entries)])
    }

    private func model(_ request: Request, _ id: String) -> Response {
        if scenarios.models.contains(id) { return json(entry(id, request)) }
        return failure(unknownModel(id), isAnthropic(request) ? .messages : .chatCompletions)
    }

    private func entry(_ id: String, _ request: Request) -> JSON {
        isAnthropic(request)
            ? [
                "type": "model", "id": .string(id), "display_name": .string(scenarios.description(ofModel: id)),
                "created_at": "2025-01-01T00:00:00Z",
            ]
            : ["id": .string(id), "object": "model", "created": 1_735_689_600, "owned_by": "slipway-scripted"]
    }

    private func isAnthropic(_ request: Request) -> Bool { request.headers[HTTPField.Name("anthropic-version")!] != nil }

    private func json(_ value: JSON, status: Int = 200) -> Response {
        Response(
            status: .init(code: status), headers: DemoPlay.headers(contentType: "application/json", id: "models"),
            body: .init(byteBuffer: ByteBuffer(string: value.text)))
    }
}

extension RequestError {
    init(_ fault: Fault) {
        self.init(status: fault.status, type: fault.type, message: fault.message, retryAfterSeconds: fault.retryAfterSeconds)
    }
}

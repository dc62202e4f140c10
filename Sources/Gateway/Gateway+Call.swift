import Core
import Crypto
import Foundation
import HTTPTransport
import ModelAPI
import NIOCore

extension Gateway {
    /// Makes a call. Never throws: what is wrong is answered in the words of the client's protocol.
    package func call(_ call: GatewayCall) async -> GatewayAnswer {
        do {
            try admission.enter(bodyBytes: call.body.readableBytes)
        } catch {
            return refuse(call, error, nil, provider: nil)
        }
        // From here on either `leave` is called below, or the call has a record, whose end does it.
        var provider: Provider?
        do {
            let current = try settings.current()
            guard let found = current.provider(named: call.provider, organization: call.principal.organization), found.isEnabled
            else {
                throw unknownProvider(call, current)
            }
            provider = found
            switch GatewayRoute(method: call.method, route: call.route) {
            case .model(let api): return try await callModel(call, found, api, current)
            case .free:
                defer { admission.leave() }
                return try await passFree(call, found)
            case .hello:
                admission.leave()
                return GatewayAnswer(status: 200, headers: [], body: GatewayBody(ByteBuffer()))
            case .unknown:
                throw AppError(
                    .notFound,
                    "\(call.method) /\(call.route.prefix(200)) is not served by the gateway; it serves POST v1/messages, POST v1/chat/completions, POST v1/messages/count_tokens and GET v1/models."
                )
            }
        } catch let ended as EndedCall {
            return refuse(call, ended.error, call.id, provider: provider)
        } catch {
            admission.leave()
            return refuse(call, error, nil, provider: provider)
        }
    }

    /// An error of a call whose record has ended already.
    private struct EndedCall: Error { var error: AppError }

    private func refuse(_ call: GatewayCall, _ error: any Error, _ id: InterceptionID?, provider: Provider?) -> GatewayAnswer {
        let failure: AppError
        if let error = error as? AppError {
            failure = error
        } else if error is CancellationError {
            failure = AppError(.unavailable, "The call was cancelled.")
        } else {
            failure = AppError(
                .internal, "The call failed inside Slipway; the log says why under request \(call.requestID).", cause: error)
        }
        if failure.source == .server {
            configuration.logger.warning(
                "model call refused", metadata: ["request_id": "\(call.requestID)", "error": "\(failure)"])
        }
        meters.refused(provider: provider?.name ?? "unknown", failure)
        return Refusal.answer(
            failure, GatewayRoute.errorProtocol(route: call.route, provider: provider), requestID: call.requestID, interception: id)
    }

    private func unknownProvider(_ call: GatewayCall, _ settings: Settings) -> AppError {
        let names = settings.providers(of: call.principal.organization).filter(\.isEnabled).map(\.name)
        let known = names.isEmpty ? "none is set up yet: slipway providers add" : "there are: \(names.joined(separator: ", "))"
        return AppError(.notFound, "There is no provider named '\(call.provider.prefix(64))' (\(known)).", field: "provider")
    }

    // MARK: identify, decide, hold

    private func callModel(
        _ call: GatewayCall, _ provider: Provider, _ api: ModelProtocol, _ settings: Settings
    ) async throws -> GatewayAnswer {
        let began = ContinuousClock.now
        guard provider.type.modelProtocol == api else {
            throw AppError(
                .notFound,
                "The provider '\(provider.name)' is of type \(provider.type.rawValue) and does not serve /\(call.route.prefix(64))."
            )
        }
        guard settle.pending < admission.limits.pendingSettlements else {
            throw AppError(
                .unavailable, "The database is away and too many calls wait to be booked; new ones are refused until it is back.",
                retry: .after(.seconds(5)))
        }
        let summary = try RequestSummary.read(call.body, as: api)
        var interception = identify(call, provider, api, summary)
        let price = settings.prices.price(
            of: summary.model, type: provider.type, organization: call.principal.organization, at: Date())
        interception.price = price?.id
        switch ModelPolicy.decide(
            settings.policies(of: call.principal.organization), call.principal, provider: provider.name, model: summary.model)
        {
        case .allow(let rule): interception.policy = rule
        case .deny(let rule, let reason):
            interception.policy = rule
            interception.refusal = AppError(.policyDenied, reason + " Ask an admin for a model policy.")
        }
        if interception.refusal == nil, provider.keys.isEmpty {
            interception.refusal = AppError(
                .unavailable,
                "The provider '\(provider.name)' has no key; an admin can add one: slipway providers key \(provider.name)."
            )
        }
        guard let price, interception.refusal == nil else {
            let refusal =
                interception.refusal
                ?? AppError(
                    .policyDenied,
                    "The model '\(summary.model)' has no price, so no budget could cover it. An admin can add one: slipway models price \(summary.model) --type \(provider.type.rawValue) --input-price <dollars per million tokens> --output-price <…>."
                )
            interception.refusal = refusal
            _ = try? await holds.take(.init(interception: interception, demand: nil))
            throw refusal
        }
        let demand = demand(summary, price, bodyBytes: call.body.readableBytes)
        let grant = try await holds.take(.init(interception: interception, demand: demand))
        meters.held(in: began.duration(to: .now))
        let record = CallRecord(
            .init(
                call: call, interception: interception, summary: summary, provider: provider, price: price, demand: demand,
                grant: grant,
                api: api, began: began),
            .init(
                admission: admission, settle: settle, content: content, threads: threads, open: open, relays: relays, meters: meters
            ))
        do {
            return try await relay(record)
        } catch {
            throw EndedCall(error: error)
        }
    }

    private func identify(
        _ call: GatewayCall, _ provider: Provider, _ api: ModelProtocol, _ summary: RequestSummary
    ) -> NewInterception {
        let program = ClientProgram.detect(headers: call.headers, metadataUserID: summary.metadataUserID)
        let toolCall = summary.lastToolResultIDs.last?.storable(upTo: 512)
        var interception = NewInterception(
            id: call.id, organization: call.principal.organization, initiator: call.principal.user, token: call.principal.token,
            task: call.principal.task, replica: configuration.replica, requestID: call.requestID.storable(upTo: 128),
            provider: provider.type.rawValue, providerName: provider.name, modelProtocol: api.rawValue,
            route: call.route.storable(upTo: 256), model: summary.model.storable, isStreamed: summary.stream,
            client: program.client,
            clientSession: program.sessionID?.storable, toolCall: toolCall,
            thread: toolCall.flatMap { threads.place(of: $0, user: call.principal.user) },
            credentialHint: provider.keys.first?.hint,
            policy: "", requestHash: call.body.withUnsafeReadableBytes { Data(SHA256.hash(bytes: $0)) },
            requestSize: call.body.readableBytes,
            promptHash: Content.promptHash(summary.storablePrompt, summary.storableResults))
        if case .loop(let task, let step) = call.origin {
            interception.task = task
            interception.taskStep = step
            interception.client = "Slipway"
            interception.clientSession = task.description
        }
        return interception
    }

    private func demand(_ summary: RequestSummary, _ price: ModelPrice, bodyBytes: Int) -> HoldDemand {
        HoldDemand(
            price: price, inputTokens: summary.inputTokenBound(bodyBytes: bodyBytes) ?? price.contextTokens,
            outputTokens: (summary.maxOutputTokens ?? price.maxOutputTokens) * max(1, summary.answers),
            webSearches: summary.refersToStoredInput ? 10 : 0, canBeCut: summary.stream)
    }

    // MARK: relay

    /// Sends the call. On return the record is owned by the body; when this throws it has ended.
    private func relay(_ record: CallRecord) async throws(AppError) -> GatewayAnswer {
        let facts = record.facts
        let edit = facts.api == .chatCompletions ? BodyEdit.includeUsage(facts.summary, in: facts.call.body) : nil
        let body = edit?.apply(to: facts.call.body) ?? facts.call.body
        // The flush runs while the model thinks.
        flush.post()
        let response: HTTPClientResponse
        do {
            response = try await configuration.transport.send(request(facts.call, facts.provider, body: body))
        } catch {
            let failure = error as? AppError
            record.end(failure.map { .upstreamFailed($0) } ?? .clientLeft)
            // The error is an answer too.
            try? await flush.wait(for: facts.grant.entry, of: calls)
            throw failure ?? AppError(.unavailable, "The call was cancelled.")
        }
        record.head(status: response.status, contentType: response.header("content-type") ?? "")
        let isStream = record.state.withLockedValue { $0.reader.isStreamed }
        var whole: ByteBuffer?
        var first: ByteBuffer?
        do {
            if isStream {
                // Whatever fails before the first byte can still be told by the status.
                var iterator = response.body.makeAsyncIterator()
                first = try await iterator.next()
            } else {
                whole = try await response.body.collect(upTo: AnswerReader.defaultContentLimit)
            }
        } catch {
            let failure = error as? AppError
            record.end(failure.map { .upstreamFailed($0) } ?? .clientLeft)
            try? await flush.wait(for: facts.grant.entry, of: calls)
            throw failure ?? AppError(.unavailable, "The call was cancelled.")
        }
        do {
            try await flush.wait(for: facts.grant.entry, of: calls)
            // What was put on record may be gone, if the database crashed in between.
            if calls.losses != facts.grant.generation {
                throw AppError(
                    .unavailable, "The database lost the record of this call, so its answer is withheld. Try again.", retry: .now)
            }
        } catch {
            response.body.cancel()
            let failure = error as? AppError ?? AppError(.unavailable, "The call could not be put on record.", cause: error)
            record.end(.withheld(failure))
            throw failure
        }
        meters.answered(facts)
        let headers = HeaderEdits.client(response.headers, interception: facts.call.id)
        if let whole {
            record.state.withLockedValue { state in
                state.recorder.append(whole)
                try? state.reader.feed(whole)
            }
            record.end(.ended)
            return GatewayAnswer(status: response.status, headers: headers, body: GatewayBody(whole))
        }
        let relay = Relay(record, upstream: response.body, first: first, filtersUsage: edit != nil)
        return GatewayAnswer(status: response.status, headers: headers, body: GatewayBody(relay))
    }

    private func request(_ call: GatewayCall, _ provider: Provider, body: ByteBuffer?) -> HTTPClientRequest {
        HTTPClientRequest(
            method: call.method, url: provider.url(for: call.route),
            headers: HeaderEdits.upstream(call.headers, key: provider.keys.first?.secret ?? Secret(""), type: provider.type),
            body: body,
            timeouts: configuration.timeouts, allowPrivateAddresses: provider.allowsPrivateAddresses)
    }

    /// Model lists and token counts.
    private func passFree(_ call: GatewayCall, _ provider: Provider) async throws -> GatewayAnswer {
        let response = try await configuration.transport.send(
            request(call, provider, body: call.body.readableBytes > 0 ? call.body : nil))
        let body = try await response.body.collect(upTo: 8 << 20)
        return GatewayAnswer(
            status: response.status,
            headers: HeaderEdits.client(response.headers, interception: call.id).filter { $0.name != "x-slipway-interception-id" },
            body: GatewayBody(body))
    }

    // MARK: For the loop

    /// Where a model is to be asked for.
    package struct ResolvedModel: Sendable, Equatable {
        package var provider: String
        package var model: String
        package var api: ModelProtocol
        package var route: String
    }

    /// - Parameter name: `<provider>/<model>`, or a model that exactly one enabled provider (by name order) has a price for.
    /// - Throws: `notFound` that says which models there are.
    package func resolve(model name: String, for principal: Principal) throws -> ResolvedModel {
        let current = try settings.current()
        let enabled = current.providers(of: principal.organization).filter(\.isEnabled)
        func priced(_ provider: Provider, _ model: String) -> Bool {
            current.prices.price(of: model, type: provider.type, organization: principal.organization, at: Date()) != nil
        }
        func resolved(_ provider: Provider, _ model: String) -> ResolvedModel {
            ResolvedModel(
                provider: provider.name, model: model, api: provider.type.modelProtocol,
                route: provider.type == .anthropic ? "v1/messages" : "v1/chat/completions")
        }
        let parts = name.split(separator: "/", maxSplits: 1)
        if parts.count == 2, let provider = enabled.first(where: { $0.name == parts[0] }), priced(provider, String(parts[1])) {
            return resolved(provider, String(parts[1]))
        }
        if let provider = enabled.first(where: { priced($0, name) }) { return resolved(provider, name) }
        let providers = enabled.map(\.name).joined(separator: ", ")
        throw AppError(
            .notFound,
            "No enabled provider has a price for the model '\(name.prefix(128))' (providers: \(providers.isEmpty ? "none; an admin adds one with 'slipway providers add'" : providers)). See slipway models list.",
            field: "model")
    }

    /// The whole answer of a call that was settled and complete; nil when there is none, so that the call has to be made again.
    package func recordedAnswer(_ id: InterceptionID, for principal: Principal) async throws -> RecordedAnswer? {
        let rows = try await configuration.pool.query(
            """
            SELECT i.http_status, i.provider_name, l.cost FROM ai_interceptions i JOIN ai_ledger l ON l.interception_id = i.id
            WHERE i.id = \(id) AND i.organization_id = \(principal.organization) AND i.initiator_id = \(principal.user)
              AND i.status = 'completed' AND l.state <> 'unknown'
            ORDER BY l.attempt DESC LIMIT 1
            """)
        guard let row = rows.first,
            let body = try await contentStore.body(principal.organization, id, .answer), body.state == .complete
        else { return nil }
        return RecordedAnswer(
            status: try row["http_status"], contentType: body.contentType, body: ByteBuffer(bytes: body.bytes),
            cost: try row["cost"],
            provider: try row["provider_name"])
    }
}

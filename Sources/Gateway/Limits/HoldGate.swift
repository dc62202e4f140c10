import Core

/// Finds the budgets and limits of a call, takes its hold, and lets it wait for a place where a limit on concurrency has none.
final class HoldGate: Sendable {
    private let holds: HoldLoop
    private let settings: SettingsCache
    private let lines: LimitLines
    private let patience: Duration

    init(holds: HoldLoop, settings: SettingsCache, limits: Admission.Limits) {
        self.holds = holds
        self.settings = settings
        lines = LimitLines(longest: limits.queueLength)
        patience = limits.queueTime
    }

    /// How many calls wait for a place under a limit.
    var waiting: Int { lines.count }

    /// As `HoldLoop.take`, with what applies to the call. Returns when it holds its money and its place, or when it is refused.
    ///
    /// - Parameter target: where it goes first; limits of a provider or model are those of this one.
    func take(
        _ interception: NewInterception, _ demand: HoldDemand, _ turn: CallClass, _ target: Target, _ claim: KeyClaim? = nil
    ) async throws -> HoldLoop.Grant {
        let governance = try settings.current().governance
        let request = HoldLoop.Request(
            interception: interception, demand: demand, rules: governance.budgets.applying(to: interception),
            uses: governance.limits.uses(of: interception, at: target), turn: turn, claim: claim)
        let places = request.uses.filter(\.hasConcurrency)
        if places.isEmpty { return try await holds.take(request) }
        return try await take(request, places)
    }

    /// For a second attempt at a call: at once and whole, or not at all, and then nothing of it is on record.
    ///
    /// - Throws: what it is refused with.
    func takeBeside(
        _ interception: NewInterception, _ demand: HoldDemand, _ turn: CallClass, _ target: Target
    ) async throws -> HoldLoop.Grant {
        let governance = try settings.current().governance
        return try await holds.take(
            .init(
                interception: interception, demand: demand, rules: governance.budgets.applying(to: interception),
                uses: governance.limits.uses(of: interception, at: target), turn: turn, mayWait: true, isExtra: true))
    }

    private func take(_ request: HoldLoop.Request, _ places: [RateUse]) async throws -> HoldLoop.Grant {
        let patient = request.waiting
        let deadline = ContinuousClock.now + patience
        // A repeat needs no place: it must not wait for one behind the very call that it repeats.
        var busy = request.claim == nil ? lines.occupied(places) : nil
        if busy == nil {
            do { return try await holds.take(patient) } catch let limit as LimitBusy { busy = limit.use }
        }
        while let use = busy, let id = lines.join(use, request.turn, until: deadline) {
            switch try await stand(id, in: use, patient) {
            case .granted(let grant): return grant
            case .elsewhere(let other): busy = other
            case .timeIsUp: busy = nil
            }
        }
        try Task.checkCancellation()
        // The line is full, or the time is up: the last try puts a refusal on record.
        return try await holds.take(request)
    }

    private enum Outcome {
        case granted(HoldLoop.Grant)
        /// There is room here, but not under another limit.
        case elsewhere(RateUse)
        case timeIsUp
    }

    /// Tries whenever it is this one's turn.
    private func stand(_ id: UInt64, in use: RateUse, _ request: HoldLoop.Request) async throws -> Outcome {
        while true {
            switch await lines.wait(id, in: use) {
            case .isClosed:
                throw AppError(
                    .unavailable, "The server is shutting down; try again, another one will answer.", retry: .after(.seconds(1)))
            case .timeIsUp: return .timeIsUp
            case .isNext: break
            }
            do {
                let grant = try await holds.take(request)
                lines.passed(id, in: use)
                return .granted(grant)
            } catch let busy as LimitBusy where busy.use == use {
                lines.failed(id, in: use)
            } catch {
                lines.leave(id, in: use)
                guard let busy = error as? LimitBusy else { throw error }
                return .elsewhere(busy.use)
            }
        }
    }

    // MARK: For the gateway

    /// Calls of this process were settled.
    func released(_ settled: [Settlement]) {
        if lines.count > 0, settled.contains(where: { !$0.counters.isEmpty }) { lines.wake() }
    }

    /// Every 200 ms.
    func tick() { lines.tick() }

    /// Nobody waits any more: the server is shutting down.
    func close() { lines.close() }
}

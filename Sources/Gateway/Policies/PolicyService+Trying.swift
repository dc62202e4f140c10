import Core
import Foundation
import Policies

extension PolicyService {
    /// The longest time that is simulated at once.
    package static let longestSimulation: TimeInterval = 31 * 86400

    /// The policies in force, with these texts in the place of those of their names or along with them.
    ///
    /// - Throws: `badRequest` with every problem and its place.
    func candidate(_ principal: Principal, _ texts: [String], without: Set<String> = []) throws -> PolicySet {
        guard texts.count <= Self.most else {
            throw AppError(.badRequest, "policies has \(texts.count) entries; at most \(Self.most).", field: "policies")
        }
        var objects = try list(principal).filter { !without.contains($0.name) }
        var seen: Set<String> = []
        for (index, text) in texts.enumerated() {
            let object: PolicyObject
            do throws(PolicyFileError) {
                object = try PolicyReader.read(text)
            } catch {
                throw error.appError("policies[\(index)]", field: "policies[\(index)]")
            }
            try Self.checkReserved(object.name)
            guard seen.insert(object.name).inserted else {
                throw AppError(.badRequest, "Two of the policies are named '\(object.name)'.", field: "policies[\(index)]")
            }
            objects.removeAll { $0.name == object.name }
            objects.append(object)
        }
        return PolicySet(objects)
    }

    /// - Parameter texts: nil: only what is in force.
    package func test(_ principal: Principal, cases: String, policies texts: [String]?) throws -> [PolicyCases.Outcome] {
        let set = try candidate(principal, texts ?? [])
        do throws(PolicyFileError) {
            return try PolicyCases.read(cases, now: Date()).run(set)
        } catch {
            throw error.appError("The file of cases", field: "cases")
        }
    }

    /// One request, as a case has it, by what is in force.
    package func explain(_ principal: Principal, request: String) throws -> PolicyExplanation {
        let set = try settings.current().policies.set(of: principal.organization)
        do throws(PolicyFileError) {
            return set.explain(set.resolved(try PolicyCases.readRequest(request, now: Date())))
        } catch {
            throw error.appError("The request", field: "request")
        }
    }

    /// A call on record: by the policies of its time, or of now. Model policies keep no versions: they are always those of now.
    ///
    /// - Returns: also what the record says.
    package func explain(
        _ principal: Principal, _ id: InterceptionID, byPoliciesOfNow: Bool
    ) async throws -> (explanation: PolicyExplanation, recorded: String) {
        let current = try settings.current()
        let calls = PastCalls(pool: store.pool, settings: current)
        var set = current.policies.set(of: principal.organization)
        if !byPoliciesOfNow {
            let at = try await calls.one(principal.organization, id, needsBudgets: false).facts.at
            let stored = try await store.asOf(at, principal.organization)
            let models = current.policies.models[principal.organization] ?? []
            set = PolicySet(PolicySnapshot.objects(stored, models, try BuiltInPolicy.readChecked()))
        }
        let past = try await calls.one(principal.organization, id, needsBudgets: set.needsBudgets)
        return (set.explain(past.facts), past.recorded)
    }

    /// Past calls by the policies in force, and by others.
    ///
    /// - Throws: `badRequest` for a range that is empty or longer than 31 days.
    package func simulate(
        _ principal: Principal, policies texts: [String], without: Set<String>, _ range: Range<Date>
    ) async throws -> Simulation {
        let length = range.upperBound.timeIntervalSince(range.lowerBound)
        guard length > 0, length <= Self.longestSimulation else {
            throw AppError(
                .badRequest, "The time from started_after to started_before must be more than nothing and at most 31 days.",
                field: "started_after")
        }
        guard !texts.isEmpty || !without.isEmpty else {
            throw AppError(.badRequest, "Nothing to try: give policies, or without.", field: "policies")
        }
        let current = try settings.current()
        let names = Set(try list(principal).map(\.name))
        if let unknown = without.subtracting(names).sorted().first {
            throw AppError(.notFound, "There is no policy named '\(unknown.prefix(64))' to be without.", field: "without")
        }
        let now = current.policies.set(of: principal.organization)
        let then = try candidate(principal, texts, without: without)
        var simulation = Simulation(range)
        let calls = PastCalls(pool: store.pool, settings: current)
        try await calls.each(
            principal.organization, range, needsBudgets: now.needsBudgets || then.needsBudgets
        ) { past in
            simulation.add(past.facts, recorded: past.recorded, now: now.decide(past.facts), then: then.decide(past.facts))
        }
        return simulation
    }
}

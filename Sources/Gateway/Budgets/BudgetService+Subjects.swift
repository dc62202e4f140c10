import Core
import Foundation

/// A budget of anything that can have one, in the period that it is now.
package struct SubjectBudget: Sendable, Equatable {
    /// `user:<name>`, `group:<name>`, `organization`, `task:<name>`, `token:<id>`.
    package var subject: String
    package var period: BudgetPeriod
    /// The first day of the period, e.g. `2026-11-16`.
    package var start: String
    package var cap: NanoDollars
    /// False: it warns and refuses nothing.
    package var isHard: Bool
    package var spent: NanoDollars
    /// Taken by calls under way.
    package var held: NanoDollars
}

extension BudgetService {
    /// Sets the budget of a subject. It counts from now on, on every server within two seconds; one that is already spent stops new calls.
    ///
    /// - Parameters:
    ///   - subject: `user:<name>`, `group:<name>`, `organization`, `task:<name>` or `token:<id>`.
    ///   - period: `day`, `week`, `month` or `total`.
    /// - Throws: `badRequest` and `notFound`, naming the field.
    @discardableResult
    package func set(
        _ principal: Principal, subject text: String, period name: String, cap: NanoDollars, isHard: Bool
    ) async throws -> SubjectBudget {
        guard cap >= .zero, cap <= Self.highestCap else {
            throw AppError(
                .badRequest, "The cap is \(cap); it must be from $0.00 to \(Self.highestCap).", field: "cap_nano_dollars")
        }
        let (subject, period) = try await find(principal, text, name)
        try await facts.record { connection in
            _ = try await BudgetRuleStore.set(
                connection, principal.organization, subject, period, cap: cap, isHard: isHard)
            let fact = try AuditFacts.Fact(
                organization: principal.organization, actor: principal.user, kind: "budget.set", subject: text,
                [
                    "period": period.rawValue, "cap_nano_dollars": "\(cap.value)", "hard": "\(isHard)",
                    "id": subject.id.uuidString.lowercased(),
                ])
            return ((), [fact])
        }
        try await settings.refresh()
        return try await show(principal, subject, period, text)
    }

    /// Removes it. What was booked stays booked, and counts again should it be set anew within the same period.
    package func remove(_ principal: Principal, subject text: String, period name: String) async throws {
        let (subject, period) = try await find(principal, text, name)
        let existed = try await facts.record { connection in
            guard try await BudgetRuleStore.set(connection, principal.organization, subject, period, cap: nil, isHard: true) else {
                return (false, [])
            }
            let fact = try AuditFacts.Fact(
                organization: principal.organization, actor: principal.user, kind: "budget.remove", subject: text,
                ["period": period.rawValue, "id": subject.id.uuidString.lowercased()])
            return (true, [fact])
        }
        guard existed else { throw Self.noBudget(text, period) }
        try await settings.refresh()
    }

    /// Those with a cap, by subject and period.
    /// - Parameter everyones: false: those that concern the caller.
    package func list(_ principal: Principal, everyones: Bool, _ page: PageRequest) async throws -> Page<SubjectBudget> {
        try await rules.list(principal.organization, everyones ? .all : .concerning(principal.user), page)
    }

    private func show(
        _ principal: Principal, _ subject: BudgetSubject, _ period: BudgetPeriod, _ text: String
    ) async throws -> SubjectBudget {
        guard
            let budget = try await rules.list(principal.organization, .one(subject, period), PageRequest(limit: 1)).items.first
        else { throw Self.noBudget(text, period) }
        return budget
    }

    private func find(_ principal: Principal, _ text: String, _ period: String) async throws -> (BudgetSubject, BudgetPeriod) {
        guard let period = BudgetPeriod(rawValue: period) else {
            let known = BudgetPeriod.allCases.map(\.rawValue).joined(separator: ", ")
            throw AppError(.badRequest, "'\(period.prefix(40))' is no period; there are \(known).", field: "period")
        }
        let parts = text.split(separator: ":", maxSplits: 1, omittingEmptySubsequences: false).map(String.init)
        guard let kind = BudgetSubject.Kind(rawValue: parts[0]), (parts.count == 1) == (kind == .organization) else {
            throw AppError(
                .badRequest,
                "'\(text.prefix(80))' is no subject of a budget; expected user:<name>, group:<name>, organization, task:<name> or token:<id>.",
                field: "subject")
        }
        guard let subject = try await rules.subject(principal.organization, kind, parts.count == 2 ? parts[1] : "") else {
            throw AppError(.notFound, "There is no \(kind.rawValue) '\((parts.last ?? "").prefix(80))'.", field: "subject")
        }
        return (subject, period)
    }

    private static func noBudget(_ subject: String, _ period: BudgetPeriod) -> AppError {
        AppError(.notFound, "\(subject.prefix(80)) has no budget with the period '\(period.rawValue)'.", field: "subject")
    }
}

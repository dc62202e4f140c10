import API
import Core

/// A task's limits as the fields of a form, and back.
struct LimitFields: Equatable, Sendable {
    var dollars: String
    var steps: String
    /// Whole minutes, rounded up.
    var minutes: String

    init(_ limits: TaskLimits) {
        dollars = limits.costNanoDollars.map { String(NanoDollars($0).description.drop { $0 == "$" }) } ?? ""
        steps = limits.steps.map(String.init) ?? ""
        minutes = limits.seconds.map { String(($0 + 59) / 60) } ?? ""
    }

    init(_ form: FormFields) {
        dollars = form["dollars"].trimmed
        steps = form["steps"].trimmed
        minutes = form["minutes"].trimmed
    }

    /// What differs from `present`. An empty field changes nothing: a limit can be raised, not taken away.
    ///
    /// - Throws: `badRequest` naming the field and what it takes.
    func changes(from present: TaskLimits) throws -> TaskLimits {
        let shown = LimitFields(present)
        var changes = TaskLimits()
        if !dollars.isEmpty, dollars != shown.dollars {
            guard let amount = NanoDollars(dollars: dollars) else {
                throw AppError(.badRequest, "'\(dollars)' is no amount of dollars: write 2 or 0.50.", field: "dollars")
            }
            changes.costNanoDollars = amount.value
        }
        if !steps.isEmpty, steps != shown.steps { changes.steps = try Self.whole(steps, "steps", most: 100_000) }
        if !minutes.isEmpty, minutes != shown.minutes { changes.seconds = try Self.whole(minutes, "minutes", most: 43_200) * 60 }
        return changes
    }

    private static func whole(_ text: String, _ field: String, most: Int) throws -> Int {
        guard let number = Int(text), (1...most).contains(number) else {
            throw AppError(.badRequest, "'\(text)' is no number of \(field): write a whole number from 1 to \(most).", field: field)
        }
        return number
    }
}

extension String {
    fileprivate var trimmed: String { String(drop(while: \.isWhitespace).reversed().drop(while: \.isWhitespace).reversed()) }
}

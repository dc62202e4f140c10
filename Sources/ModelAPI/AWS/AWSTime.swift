/// A second, in the form that Amazon's signatures have it: `20150830T123600Z`.
struct AWSTime: Equatable {
    let text: String
    /// `20150830`
    var day: String { String(text.prefix(8)) }

    /// - Parameter seconds: since 1970, at least 0.
    init(seconds: Int) {
        let days = seconds / 86_400
        let second = seconds % 86_400
        // Years begin in March here, so that the leap day is the last (proleptic Gregorian calendar, eras of 400 years).
        let shifted = days + 719_468
        let era = shifted / 146_097
        let dayOfEra = shifted % 146_097
        let yearOfEra = (dayOfEra - dayOfEra / 1_460 + dayOfEra / 36_524 - dayOfEra / 146_096) / 365
        let dayOfYear = dayOfEra - (365 * yearOfEra + yearOfEra / 4 - yearOfEra / 100)
        let shiftedMonth = (5 * dayOfYear + 2) / 153
        let day = dayOfYear - (153 * shiftedMonth + 2) / 5 + 1
        let month = shiftedMonth < 10 ? shiftedMonth + 3 : shiftedMonth - 9
        let year = yearOfEra + era * 400 + (month <= 2 ? 1 : 0)
        func two(_ value: Int) -> String { value < 10 ? "0\(value)" : "\(value)" }
        text = "\(year)\(two(month))\(two(day))T\(two(second / 3600))\(two(second / 60 % 60))\(two(second % 60))Z"
    }
}

import Foundation

/// Hours of days of the week, in a time zone. Hours that pass midnight belong to the day on which they begin.
package struct TimeWindow: Sendable, Hashable {
    package enum Day: Int, Sendable, CaseIterable {
        case mon, tue, wed, thu, fri, sat, sun

        init?(_ name: String) {
            guard let day = Self.allCases.first(where: { "\($0)" == name }) else { return nil }
            self = day
        }
    }

    /// Empty: every day.
    package var days: Set<Day>
    /// Minutes since midnight, 0...1439; equal to `to`: the whole day.
    package var from: Int
    /// The first minute that is outside, 0...1440.
    package var to: Int
    package var zone: TimeZone

    package init(days: Set<Day> = [], from: Int = 0, to: Int = 1440, zone: TimeZone = .gmt) {
        self.days = days
        self.from = from
        self.to = to
        self.zone = zone
    }

    package func contains(_ date: Date) -> Bool {
        let seconds = Int(date.timeIntervalSince1970.rounded(.down)) + zone.secondsFromGMT(for: date)
        let minutes = Self.floorDivide(seconds, 60)
        let minute = minutes - Self.floorDivide(minutes, 1440) * 1440
        // 1 January 1970 was a Thursday.
        let today = (Self.floorDivide(minutes, 1440) + 3) % 7
        if from < to { return minute >= from && minute < to && isOn(today) }
        if from == to { return isOn(today) }
        return (minute >= from && isOn(today)) || (minute < to && isOn(today + 6))
    }

    private func isOn(_ day: Int) -> Bool {
        days.isEmpty || Day(rawValue: ((day % 7) + 7) % 7).map(days.contains) == true
    }

    private static func floorDivide(_ a: Int, _ b: Int) -> Int { a >= 0 ? a / b : -((-a + b - 1) / b) }

    /// Reads `08:00` and `24:00`.
    static func minutes(_ text: String) -> Int? {
        let parts = text.split(separator: ":", omittingEmptySubsequences: false)
        guard parts.count == 2, parts.allSatisfy({ $0.count == 2 && $0.allSatisfy { $0.isASCII && $0.isNumber } }),
            let hours = Int(parts[0]), let minutes = Int(parts[1]), minutes < 60, hours * 60 + minutes <= 1440
        else { return nil }
        return hours * 60 + minutes
    }

    /// As people write it.
    var words: String {
        func clock(_ minutes: Int) -> String {
            let (hours, rest) = minutes.quotientAndRemainder(dividingBy: 60)
            return "\(hours < 10 ? "0" : "")\(hours):\(rest < 10 ? "0" : "")\(rest)"
        }
        let names = Day.allCases.filter(days.contains).map { "\($0)" }.joined(separator: ", ")
        return "\(names.isEmpty ? "every day" : names) \(clock(from))-\(clock(to)) \(zone.identifier)"
    }
}

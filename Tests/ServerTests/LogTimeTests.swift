import Foundation
import Testing

@testable import Server

@Suite struct LogTimeTests {
    @Test(arguments: [
        (0.0, "1970-01-01T00:00:00.000Z"), (1_795_278_432.007, "2026-11-21T16:27:12.007Z"),
        (1_795_278_432.842, "2026-11-21T16:27:12.842Z"), (1_795_278_432.0999, "2026-11-21T16:27:12.099Z"),
        (1_795_278_433.0, "2026-11-21T16:27:13.000Z"), (1_795_278_432.5, "2026-11-21T16:27:12.500Z"),
    ])
    func `times are shown in UTC to the millisecond, also when the clock steps back`(seconds: Double, text: String) {
        #expect(LogTime.text(Date(timeIntervalSince1970: seconds)) == text)
    }
}

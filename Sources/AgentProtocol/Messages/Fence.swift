/// Whose turn it is: a number that only grows. An agent that has seen 7 refuses 6, so a worker that lost its lease changes nothing.
///
/// Numbers are compared within one scope (a task, say); scopes do not know each other.
package struct Fence: Codable, Sendable, Hashable, ExpressibleByIntegerLiteral, CustomStringConvertible {
    package var number: Int64
    package var scope: String

    package init(_ number: Int64, scope: String = "workspace") { (self.number, self.scope) = (number, scope) }
    package init(integerLiteral value: Int64) { self.init(value) }

    package var description: String { "\(scope)#\(number)" }
}

/// What ids of calls and scopes of fences may be: 1 to 128 of `A-Z a-z 0-9 . _ : @ / -`.
package enum CallID {
    package static func isValid(_ text: String) -> Bool {
        (1...128).contains(text.utf8.count) && text.utf8.allSatisfy(isAllowed)
    }

    private static func isAllowed(_ byte: UInt8) -> Bool {
        switch byte {
        case UInt8(ascii: "A")...UInt8(ascii: "Z"), UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "0")...UInt8(ascii: "9"):
            true
        case UInt8(ascii: "."), UInt8(ascii: "_"), UInt8(ascii: ":"), UInt8(ascii: "@"), UInt8(ascii: "/"), UInt8(ascii: "-"): true
        default: false
        }
    }
}

/// A value that must not appear in logs, errors or dumps: every description of it is `***`.
package struct Secret<Value: Sendable>: Sendable, CustomStringConvertible, CustomDebugStringConvertible, CustomReflectable {
    private let value: Value

    package init(_ value: Value) { self.value = value }

    /// Hands the value out; the call site shows where secrets are used.
    package func reveal() -> Value { value }

    package var description: String { "***" }
    package var debugDescription: String { "***" }
    package var customMirror: Mirror { Mirror(self, children: []) }
}

extension Secret: Equatable where Value: Equatable {}

extension Secret<String> {
    /// Enough of a credential to recognise it in a list, never enough to use it: 4 characters at each end of 20 or more,
    /// 2 of 10 or more, 1 of 5 or more, else none.
    package var hint: String {
        let shown = value.count >= 20 ? 4 : value.count >= 10 ? 2 : value.count >= 5 ? 1 : 0
        return shown == 0 ? "..." : "\(value.prefix(shown))...\(value.suffix(shown))"
    }
}

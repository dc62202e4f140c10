import Foundation

/// A range of IP addresses in CIDR notation; a lone address is a range of one. IPv4-mapped IPv6 addresses count as IPv4.
package struct AddressRange: Sendable, Equatable, CustomStringConvertible {
    private let bytes: [UInt8]
    private let prefix: Int
    package let description: String

    package init?(_ text: String) {
        let parts = text.split(separator: "/", maxSplits: 1, omittingEmptySubsequences: false)
        guard let address = parts.first, let bytes = Self.bytes(of: String(address)) else { return nil }
        var prefix = bytes.count * 8
        if parts.count == 2 {
            guard let given = Int(parts[1]), (0...prefix).contains(given) else { return nil }
            prefix = given
        }
        self.bytes = bytes
        self.prefix = prefix
        self.description = text
    }

    package func contains(_ address: String) -> Bool {
        guard let other = Self.bytes(of: address), other.count == bytes.count else { return false }
        let whole = prefix / 8
        guard other[..<whole] == bytes[..<whole] else { return false }
        let rest = prefix % 8
        guard rest > 0 else { return true }
        let mask = UInt8(truncatingIfNeeded: 0xFF00 >> rest)
        return other[whole] & mask == bytes[whole] & mask
    }

    /// By whom somebody is recognised who may have many addresses: an IPv4 address, or the /64 of an IPv6 one, which is what a
    /// single customer or machine is given. Nil for what is no address.
    package static func neighbourhood(of address: String) -> String? {
        guard let bytes = bytes(of: address) else { return nil }
        if bytes.count == 4 { return bytes.map { "\($0)" }.joined(separator: ".") }
        return bytes[..<8].map { String($0, radix: 16) }.joined(separator: ":") + "::/64"
    }

    /// An address as proxies write it: also in brackets, also with a port. Nil for anything else.
    package static func address(in text: String) -> String? {
        var candidates = [text]
        if text.hasPrefix("["), let end = text.firstIndex(of: "]") {
            candidates.append(String(text[text.index(after: text.startIndex)..<end]))
        } else if text.count(where: { $0 == ":" }) == 1, let colon = text.firstIndex(of: ":") {
            candidates.append(String(text[..<colon]))
        }
        return candidates.first { bytes(of: $0) != nil }
    }

    private static func bytes(of text: String) -> [UInt8]? {
        var v4 = in_addr()
        if inet_pton(AF_INET, text, &v4) == 1 { return withUnsafeBytes(of: &v4) { Array($0) } }
        var v6 = in6_addr()
        guard inet_pton(AF_INET6, text, &v6) == 1 else { return nil }
        let bytes = withUnsafeBytes(of: &v6) { Array($0) }
        let mapped = [UInt8](repeating: 0, count: 10) + [0xFF, 0xFF]
        return Array(bytes[..<12]) == mapped ? Array(bytes[12...]) : bytes
    }
}

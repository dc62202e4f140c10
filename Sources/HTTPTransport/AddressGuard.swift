import CCurl

/// Which addresses a request may reach that was not allowed private ones: those of the public internet alone.
///
/// The ranges are those that IANA's special-purpose registries (RFC 6890 and successors) do not list as globally reachable.
package enum AddressGuard {
    /// Why an address is refused, nil when it is public. `address` has 4 or 16 bytes, as on the wire.
    static func refusal(of address: [UInt8]) -> String? {
        switch address.count {
        case 4: refusalIPv4(address[0], address[1], address[2], address[3])
        case 16: refusalIPv6(address)
        default: "not an internet address"
        }
    }

    /// The same for an address as text; what cannot be read is refused.
    package static func refusal(ofText text: String) -> String? {
        var bytes = [UInt8](repeating: 0, count: 16)
        if inet_pton(AF_INET, text, &bytes) == 1 { return refusal(of: Array(bytes[0..<4])) }
        if inet_pton(AF_INET6, text, &bytes) == 1 { return refusal(of: bytes) }
        return "not an internet address"
    }

    static func text(of address: [UInt8]) -> String {
        var out = [CChar](repeating: 0, count: Int(INET6_ADDRSTRLEN))
        guard inet_ntop(address.count == 4 ? AF_INET : AF_INET6, address, &out, socklen_t(out.count)) != nil else { return "?" }
        return String(decoding: out.prefix { $0 != 0 }.map(UInt8.init(bitPattern:)), as: UTF8.self)
    }

    private static func refusalIPv4(_ a: UInt8, _ b: UInt8, _ c: UInt8, _ d: UInt8) -> String? {
        switch (a, b, c) {
        case (0, _, _): "this-network"
        case (127, _, _): "loopback"
        case (10, _, _), (172, 16...31, _), (192, 168, _): "private"
        case (100, 64...127, _): "carrier-grade NAT"
        case (169, 254, _): "link-local"
        case (192, 0, 0), (198, 18...19, _), (192, 88, 99): "reserved"
        case (192, 0, 2), (198, 51, 100), (203, 0, 113): "documentation"
        case (224...239, _, _): "multicast"
        case (240..., _, _): "reserved"
        default: nil
        }
    }

    private static func refusalIPv6(_ b: [UInt8]) -> String? {
        func hasPrefix(_ prefix: [UInt8]) -> Bool { b.starts(with: prefix) }
        func embedded(at i: Int) -> String? { refusalIPv4(b[i], b[i + 1], b[i + 2], b[i + 3]) }
        if b.dropLast().allSatisfy({ $0 == 0 }) { return b[15] == 1 ? "loopback" : "unspecified" }
        if hasPrefix([0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff]) { return "IPv4-mapped" }
        if hasPrefix([UInt8](repeating: 0, count: 12)) { return "IPv4-compatible" }
        if hasPrefix([0, 0x64, 0xff, 0x9b, 0, 0, 0, 0, 0, 0, 0, 0]) { return embedded(at: 12) }  // NAT64
        if hasPrefix([0x20, 0x02]) { return embedded(at: 2) }  // 6to4
        if hasPrefix([0x20, 0x01, 0x0d, 0xb8]) || hasPrefix([0x3f, 0xff]) { return "documentation" }
        if hasPrefix([0x20, 0x01]), b[2] < 2 { return "reserved" }  // 2001::/23: Teredo, ORCHID, …
        if b[0] & 0xfe == 0xfc { return "private" }
        if b[0] == 0xfe, b[1] & 0xc0 == 0x80 { return "link-local" }
        if b[0] == 0xff { return "multicast" }
        return b[0] & 0xe0 == 0x20 ? nil : "reserved"  // only 2000::/3 is given out
    }
}

import Foundation

extension Detector {
    /// Secrets that machines make: by their prefix and length, by their checksum where the format has one, and by their randomness
    /// where it has none.
    package static let secrets: [Detector] = [
        privateKey,
        token("secret.aws_access_key", "AKIA", base32, 16...16), token("secret.aws_access_key", "ASIA", base32, 16...16),
        checked("secret.github_token", "ghp_"), checked("secret.github_token", "gho_"), checked("secret.github_token", "ghu_"),
        checked("secret.github_token", "ghs_"), checked("secret.github_token", "ghr_"), checked("secret.npm_token", "npm_"),
        token("secret.github_token", "github_pat_", .base62 + ByteSet("_"), 82...82),
        token("secret.gitlab_token", "glpat-", .base64URL + ByteSet("."), 20...64),
        token("secret.slack_token", "xoxb-", .base62 + ByteSet("-"), 20...120),
        token("secret.slack_token", "xoxp-", .base62 + ByteSet("-"), 20...120),
        token("secret.slack_token", "xapp-", .base62 + ByteSet("-"), 20...160),
        token("secret.stripe_key", "sk_live_", .base62, 16...128), token("secret.stripe_key", "rk_live_", .base62, 16...128),
        token("secret.anthropic_key", "sk-ant-", .base64URL, 40...200),
        token("secret.openai_key", "sk-proj-", .base64URL, 40...256),
        token("secret.openai_key", "sk-svcacct-", .base64URL, 40...256), token("secret.google_key", "AIza", .base64URL, 35...35),
        token("secret.pypi_token", "pypi-AgE", .base64URL, 60...300), token("secret.slipway_token", "slip_", .base64URL, 43...43),
        jwt,
    ]

    /// Amazon's ids are base32 (RFC 4648).
    private static let base32 = ByteSet("ABCDEFGHIJKLMNOPQRSTUVWXYZ234567")

    /// A prefix and a run of random characters that is not longer than it may be.
    private static func token(_ name: String, _ prefix: StaticString, _ set: ByteSet, _ lengths: ClosedRange<Int>) -> Detector {
        let start = prefix.utf8CodeUnitCount
        return Detector(
            name: name, first: ByteSet(String(prefix.description.prefix(1))), notAfter: .base62 + ByteSet("_-"),
            longest: start + lengths.upperBound + 1
        ) { ahead in
            guard ahead.starts(with: prefix) else { return nil }
            let count = ahead.run(set, from: start, limit: lengths.upperBound + 1)
            guard lengths.contains(count), isRandom(ahead.text(start..<start + count)) else { return nil }
            return start + count
        }
    }

    /// GitHub's form, which npm took over: 30 random characters and six that say their CRC-32 in base 62.
    private static func checked(_ name: String, _ prefix: StaticString) -> Detector {
        Detector(name: name, first: ByteSet(String(prefix.description.prefix(1))), notAfter: .base62, longest: 41) { ahead in
            guard ahead.starts(with: prefix), ahead.run(.base62, from: 4, limit: 37) == 36 else { return nil }
            return base62(CRC32.of(ahead.text(4..<34))) == ahead.text(34..<40) ? 40 : nil
        }
    }

    private static func base62(_ value: UInt32) -> [UInt8] {
        let letters = Array("0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz".utf8)
        var (rest, digits) = (Int(value), [UInt8](repeating: letters[0], count: 6))
        for index in digits.indices.reversed() {
            digits[index] = letters[rest % 62]
            rest /= 62
        }
        return digits
    }

    /// Whether characters look drawn, not written: `sk_live_XXXXXXXXXXXXXXXX` in a manual is no secret. Shannon's entropy, in bits
    /// per character, of what is drawn from 32 or more letters is above 2.5 from 16 characters on.
    static func isRandom(_ bytes: [UInt8]) -> Bool {
        var counts = [Int](repeating: 0, count: 256)
        for byte in bytes { counts[Int(byte)] += 1 }
        let total = Double(bytes.count)
        let entropy = counts.filter { $0 > 0 }.reduce(0.0) { sum, count in
            sum - Double(count) / total * log2(Double(count) / total)
        }
        return entropy >= 2.5
    }

    /// Header, payload and signature, of which the first two are JSON objects (RFC 7519).
    private static let jwt = Detector(
        name: "secret.json_web_token", first: ByteSet("e"), notAfter: .base64URL + ByteSet("."), longest: 8192
    ) { ahead in
        guard ahead.starts(with: "eyJ") else { return nil }
        let header = ahead.run(.base64URL, from: 0, limit: 2048)
        guard header >= 15, ahead[header] == UInt8(ascii: "."), ahead.starts(with: "eyJ", at: header + 1) else { return nil }
        let payload = ahead.run(.base64URL, from: header + 1, limit: 4096)
        let second = header + 1 + payload
        guard ahead[second] == UInt8(ascii: ".") else { return nil }
        let signature = ahead.run(.base64URL, from: second + 1, limit: 1024)
        return signature >= 16 ? second + 1 + signature : nil
    }

    /// A private key in PEM's form (RFC 7468, OpenSSH's and PGP's), also as it stands in JSON. Without an end within 16 KiB it is the
    /// beginning and what of the key's letters follows it.
    private static let privateKey = Detector(
        name: "secret.private_key", first: ByteSet("-"), notAfter: ByteSet("-"), longest: 16 << 10
    ) { ahead in
        guard ahead.starts(with: "-----BEGIN ") else { return nil }
        let label = ahead.run(.upper + .digits + ByteSet(" "), from: 11, limit: 48)
        let words = String(decoding: ahead.text(11..<11 + label), as: UTF8.self)
        guard words.hasSuffix("PRIVATE KEY") || words.hasSuffix("PRIVATE KEY BLOCK") else { return nil }
        let start = 11 + label
        guard ahead.starts(with: "-----", at: start) else { return nil }
        let inside = ByteSet.base64 + ByteSet(" \t\r\n\\:,.-()")
        let body = ahead.run(inside + .letters, from: start + 5, limit: (16 << 10) - 128)
        let text = ahead.text(start + 5..<start + 5 + body)
        if let end = text.firstRange(of: Array("-----END \(words)-----".utf8)) { return start + 5 + end.upperBound }
        return start + 5 + body
    }
}

/// The checksum of zip and PNG (ISO 3309).
enum CRC32 {
    private static let table: [UInt32] = (0..<256).map { index in
        (0..<8).reduce(UInt32(index)) { value, _ in value & 1 == 1 ? 0xEDB8_8320 ^ value >> 1 : value >> 1 }
    }

    static func of(_ bytes: some Sequence<UInt8>) -> UInt32 {
        ~bytes.reduce(~UInt32(0)) { table[Int(UInt8(truncatingIfNeeded: $0) ^ $1)] ^ $0 >> 8 }
    }
}

import Core
import Testing

@testable import Policies

@Suite struct DetectorTests {
    // Made here, so that no scanner of repositories takes them for somebody's.
    private static func glued(_ parts: String...) -> String { parts.joined() }
    private static let github = glued("ghp_", "zQWBuTSOoRi4A9spHcVY5ncnsDkxkJ", "0mLq17")
    private static let key = """
        -----BEGIN RSA PRIVATE KEY-----\\nMIIBOgIBAAJBAKj34GkxFhD90vcNLYLInFEX6Ppy1tPf9Cnzj4p4WGeKLs1Pt8Q\\n\
        uKUpRKfFLfRYC9AIKjbJTWit+CqvjWYzvQwECAwEAAQ==\\n-----END RSA PRIVATE KEY-----
        """

    static let found: [(text: String, detector: String, match: String)] = [
        ("token: \(github).", "secret.github_token", github),
        (#"{"key":"\#(key)"}"#, "secret.private_key", key),
        (glued("id=AKIA", "QYLPMN5HHHFPZAM2;"), "secret.aws_access_key", glued("AKIA", "QYLPMN5HHHFPZAM2")),
        (
            glued("xoxb-", "17653672481-19874698323-pdFZKVeTuE8sk7oOHcBrzygy"), "secret.slack_token",
            glued("xoxb-", "17653672481-19874698323-pdFZKVeTuE8sk7oOHcBrzygy")
        ),
        (
            glued("AIza", "SyDaGmWKa4JsXZ-HjGw7ISLn_3namBGewQe "), "secret.google_key",
            glued("AIza", "SyDaGmWKa4JsXZ-HjGw7ISLn_3namBGewQe")
        ),
        ("mail ada@example.co.uk, or not", "personal.email", "ada@example.co.uk"),
        ("to <a.b+c@x.org>.", "personal.email", "a.b+c@x.org"),
        ("card 4111 1111 1111 1111.", "personal.card_number", "4111 1111 1111 1111"),
        ("card 378282246310005", "personal.card_number", "378282246310005"),
        ("IBAN DE89 3704 0044 0532 0130 00.", "personal.iban", "DE89 3704 0044 0532 0130 00"),
        ("GB82WEST12345698765432", "personal.iban", "GB82WEST12345698765432"),
        ("call +49 30 901820 now", "personal.phone", "+49 30 901820"),
        ("ticket ACME-12345x", "pattern.ticket", "ACME-12345"),
    ]

    static let detectors: [Detector] = Detector.secrets + Detector.personal + [try! .pattern("ticket", #"ACME-\d{3,6}"#)]

    @Test(arguments: found) func `what is looked for is found, alone and exactly, at every cut of the text`(
        text: String, detector: String, match: String
    ) throws {
        let whole = TextScanner.findings(in: text, Self.detectors)
        let found = whole.map { ($0.detector, String(decoding: Array(text.utf8)[$0.range], as: UTF8.self)) }
        #expect(found.count == 1 && found[0] == (detector, match), "\(found)")
        let bytes = Array(text.utf8)
        for cut in 0...bytes.count {
            var scanner = TextScanner(Self.detectors)
            #expect(scanner.feed(bytes[..<cut]) + scanner.feed(bytes[cut...]) + scanner.finish() == whole, "cut at \(cut)")
        }
        var scanner = TextScanner(Self.detectors)
        var single: [Finding] = []
        for byte in bytes { single += scanner.feed([byte]) }
        #expect(single + scanner.finish() == whole)
        #expect(scanner.decided == bytes.count)
    }

    static let lookalikes: [String] = [
        glued("ghp_", "zQWBuTSOoRi4A9spHcVY5ncnsDkxkJ", "0mLq18"),  // the checksum is another one
        glued("AKIA", "XXXXXXXXXXXXXXXX"), glued("sk_live_", "xxxxxxxxxxxxxxxxxxxx"),  // placeholders
        glued("xAKIA", "QYLPMN5HHHFPZAM2"), "4111 1111 1111 1112", "1234567890123456", "DE88370400440532013000", "ada@localhost",
        "@decorator", "a@b@c", "+1 2", "-----BEGIN CERTIFICATE-----", "-----BEGIN PUBLIC KEY-----", "2026-11-21T12:00:00",
        "uuid 123e4567-e89b-12d3-a456-426614174000", "ACME-12",
    ]

    @Test(arguments: lookalikes) func `what only looks like it is not found`(text: String) {
        #expect(TextScanner.findings(in: text, Self.detectors) == [])
    }

    @Test func `many findings in a long text are the same however it is cut`() {
        let text = (0..<40).map { "line \($0) " + Self.found[$0 % Self.found.count].text + " \u{00E4}\n" }.joined()
        let bytes = Array(text.utf8)
        let whole = TextScanner.findings(in: text, Self.detectors)
        #expect(whole.count == 40)
        var random = SystemRandomNumberGenerator()
        for _ in 0..<200 {
            var scanner = TextScanner(Self.detectors)
            var findings: [Finding] = []
            var position = 0
            while position < bytes.count {
                let end = min(bytes.count, position + Int.random(in: 1...300, using: &random))
                findings += scanner.feed(bytes[position..<end])
                // Nothing is found later in what was decided.
                #expect(findings.allSatisfy { $0.range.upperBound <= scanner.decided })
                position = end
            }
            #expect(findings + scanner.finish() == whole)
        }
    }

    @Test func `little waits for what comes next`() {
        var scanner = TextScanner(Self.detectors)
        _ = scanner.feed(Array("An ordinary sentence, with 12 numbers and words. ".utf8))
        #expect(scanner.decided == 49)
        // A key that never ends is let go.
        _ = scanner.feed(Array("-----BEGIN PRIVATE KEY-----\n".utf8))
        #expect(scanner.decided == 49)
        let findings = scanner.feed([UInt8](repeating: UInt8(ascii: "A"), count: 20 << 10))
        #expect(findings.map(\.detector) == ["secret.private_key"])
    }

    @Test(arguments: [
        ("a|bc", "xbcx", ["bc"]), ("(ab)+c?", "ababc ab", ["ababc", "ab"]), ("[^a-c]x", "ax dx", ["dx"]),
        ("a.{2}b", "a12b a1b", ["a12b"]),
        (#"\w+\.\d{2,}"#, "v1.25, v1.2", ["v1.25"]), ("(?:x|xy)z*", "xyzz", ["xyzz"]), ("[]]", "a]", ["]"]),
        ("é+", "caféé", ["éé"]),
        ("(a*)*b", "aaab", ["aaab"]),
    ]) func `patterns match as they say, the longest from each place on`(pattern: String, text: String, expected: [String]) throws {
        let findings = TextScanner.findings(in: text, [try .pattern("p", pattern)])
        #expect(findings.map { String(decoding: Array(text.utf8)[$0.range], as: UTF8.self) } == expected)
    }

    @Test(arguments: [
        "", "(", ")", "a)", "[a", "a**", "*", "a{2,1}", "a{9999}", "^a", "a$", #"\b"#, "(?=a)", "a*", "a?", "((a{100}){100})",
        "[z-a]", "\\",
    ])
    func `what is no pattern is refused with the place`(pattern: String) {
        do {
            _ = try PatternProgram(pattern)
            Issue.record("'\(pattern)' was taken")
        } catch { #expect((error as? AppError)?.field == "pattern", "\(error)") }
    }

    @Test func `a pattern that makes others hang takes steps in proportion to the text`() throws {
        let detector = try Detector.pattern("evil", "(a|aa|a*)*c")
        // 2^100 ways to try; here each byte costs at most states × longest match.
        #expect(TextScanner.findings(in: String(repeating: "a", count: 2000), [detector]) == [])
    }
}

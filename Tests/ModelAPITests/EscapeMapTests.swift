import Testing

@testable import ModelAPI

@Suite struct EscapeMapTests {
    static let texts = [
        "plain", #"a\nb\"c"#, #"\u0067hp_x"#, #"\ud83d\ude00!"#, #"\ud83dx"#, #"x\ud83d\ud83d\ude00"#, #"ä\u00e4ß"#, #"\\\\n"#,
        #"end\u00"#,
    ]
    static let meant = [
        "plain", "a\nb\"c", "ghp_x", "\u{1F600}!", "\u{FFFD}x", "x\u{FFFD}\u{1F600}", "ää\u{DF}", "\\\\n", "end\\u00",
    ]

    @Test(arguments: zip(texts, meant)) func `the text is the one that JSON means, wherever it is cut`(raw: String, meant: String) {
        let bytes = Array(raw.utf8)
        var whole = EscapeMap()
        let text = bytes.withUnsafeBytes { whole.feed($0) } + whole.finish()
        #expect(String(decoding: text, as: UTF8.self) == meant)
        for cut in 0...bytes.count {
            var map = EscapeMap()
            var found = bytes[..<cut].withUnsafeBytes { map.feed($0) }
            found += bytes[cut...].withUnsafeBytes { map.feed($0) }
            found += map.finish()
            #expect(found == text, "cut at \(cut)")
            for end in 0...text.count { #expect(map.raw(0..<end) == whole.raw(0..<end)) }
        }
    }

    @Test func `a range of the text is found in the bytes, escapes as a whole`() {
        let raw = Array(#"key: \u0067hp\u005fabc\n."#.utf8)
        var map = EscapeMap()
        let text = raw.withUnsafeBytes { map.feed($0) } + map.finish()
        #expect(String(decoding: text, as: UTF8.self) == "key: ghp_abc\n.")
        let range = map.raw(5..<12)
        #expect(String(decoding: raw[range], as: UTF8.self) == #"\u0067hp\u005fabc"#)
        #expect(String(decoding: raw[map.raw(12..<14)], as: UTF8.self) == #"\n."#)
    }
}

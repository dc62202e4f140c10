import Foundation
import Testing

@testable import ModelAPI

@Suite struct JSONTests {
    private static func accepts(_ bytes: [UInt8]) -> Bool {
        bytes.withUnsafeBytes { raw in
            var cursor = JSONCursor(raw)
            do {
                try cursor.skipValue()
                try cursor.expectEnd()
                return true
            } catch {
                return false
            }
        }
    }

    private static func accepts(_ text: String) -> Bool { accepts(Array(text.utf8)) }

    @Test func `what is JSON is accepted and what is not is refused`() {
        for text in [
            "0", "-0.5e+10", "1E9", "\"\"", "\"\\\"\"", "null", " [ ] ", "[{},[],{\"a\":[1,2,{\"b\":null}]}]", "{\"\":0}", "true",
        ] {
            #expect(Self.accepts(text), "\(text)")
        }
        for text in [
            "", " ", "-", "01", "1.", ".5", "1e", "+1", "nul", "nulll", "tru", "\"", "\"\\", "\"\\\"", "[", "]", "[1", "[1,",
            "[1,]", "[,1]", "[1 2]", "{",
            "{\"a\"", "{\"a\":", "{\"a\":1", "{\"a\":1,", "{\"a\":1,}", "{a:1}", "{\"a\" 1}", "{,}", "[}", "{]", "[[}]", "[1}",
            "{\"a\":1]", "1 2", "{} {}", "NaN",
        ] {
            #expect(!Self.accepts(text), "\(text)")
        }
    }

    @Test func `every mutation of a document is judged as Foundation judges it`() {
        let document = Array(#"{"a":[1,-2.5e3,{"b":"x","c":null}],"d":{"e":[],"f":{}},"g":true,"h":[[0],[false,"yz"]]}"#.utf8)
        let alphabet = Array("{}[],:\"0159.eE+-truefalsn ab".utf8)
        var accepted = 0
        for seed in 0..<8000 {
            var random = SeededGenerator(seed: UInt64(seed))
            var bytes = document
            for _ in 0..<Int.random(in: 1...3, using: &random) {
                let place = Int.random(in: 0..<bytes.count, using: &random)
                switch Int.random(in: 0..<3, using: &random) {
                case 0: bytes[place] = alphabet.randomElement(using: &random)!
                case 1: bytes.remove(at: place)
                default: bytes.insert(alphabet.randomElement(using: &random)!, at: place)
                }
            }
            // Foundation alone lets a comma stand before a closing bracket.
            let text = String(decoding: bytes, as: UTF8.self).filter { $0 != " " }
            if text.contains(",]") || text.contains(",}") { continue }
            let theirs = (try? JSONSerialization.jsonObject(with: Data(bytes), options: .fragmentsAllowed)) != nil
            if theirs { accepted += 1 }
            #expect(Self.accepts(bytes) == theirs, "seed \(seed): \(String(decoding: bytes, as: UTF8.self))")
        }
        #expect(accepted > 400)
    }

    @Test func `depth is bounded and does not use the stack`() {
        #expect(Self.accepts(String(repeating: "[", count: 120) + "1" + String(repeating: "]", count: 120)))
        #expect(!Self.accepts(String(repeating: "[", count: 121) + "1" + String(repeating: "]", count: 121)))
        #expect(!Self.accepts(String(repeating: "{\"a\":", count: 1_000_000)))
    }

    @Test func `strings come out as they were written, whatever is in them`() throws {
        var random = SeededGenerator(seed: 7)
        let pieces = [
            "\"", "\\", "/", "\n", "\r", "\t", "\u{8}", "\u{C}", "\u{0}", "\u{1F}", "\u{7F}", "é", "日", "😀", "\u{FFFF}", "abc",
            String(repeating: "x", count: 40),
        ]
        for _ in 0..<2000 {
            let text = (0..<Int.random(in: 0...12, using: &random)).map { _ in pieces.randomElement(using: &random)! }.joined()
            var writer = JSONWriter()
            writer.string(text)
            #expect(try JSONDecoder().decode(String.self, from: Data(writer.bytes)) == text)
            // Foundation escapes other characters than we do; and the escape-everything form of Python.
            let ascii = "\"" + text.utf16.map { String(format: "\\u%04x", $0) }.joined() + "\""
            for json in [writer.bytes, Array(try JSONEncoder().encode(text)), Array(ascii.utf8)] {
                json.withUnsafeBytes { raw in
                    var cursor = JSONCursor(raw)
                    let read = try? cursor.string()
                    let isAtEnd = cursor.isAtEnd
                    #expect(read?.string() == text)
                    #expect(isAtEnd)
                }
            }
        }
    }

    @Test func `lone halves of surrogate pairs and broken escapes become replacement characters, not crashes`() {
        func string(_ inside: String) -> String? {
            Array("\"\(inside)\"".utf8).withUnsafeBytes { raw in
                var cursor = JSONCursor(raw)
                return try? cursor.string().string()
            }
        }
        #expect(string(#"a\ud83db"#)?.contains("\u{FFFD}") == true)
        #expect(string(#"\ude00"#)?.contains("\u{FFFD}") == true)
        #expect(string(#"\ude00\ud83d"#)?.contains("😀") == false)
        #expect(string(#"\ud83d\ud83d\ude00"#)?.hasSuffix("😀") == true)
        #expect(string(#"\u12"#)?.hasPrefix("\u{FFFD}") == true)
        #expect(string(#"\uZZZZ"#)?.hasPrefix("\u{FFFD}") == true)
        #expect(string(#"\q"#) == "q")
    }

    @Test func `an escaped key is the key it says`() throws {
        try Array(#"{"m\u006fdel":1}"#.utf8).withUnsafeBytes { raw in
            var cursor = JSONCursor(raw)
            var walk = try cursor.enterObject()
            let key = try cursor.nextKey(&walk)
            #expect(key?.equals("model") == true)
        }
    }

    @Test(arguments: [
        ("12", 12), ("-3", -3), ("12.0", 12), ("1e3", 1000), ("1.5", nil), ("1e99", nil), ("99999999999999999999", nil),
        ("\"1\"", nil), ("null", nil), ("0", 0),
    ])
    func `whole numbers are read, others are none`(text: String, value: Int?) throws {
        try Array(text.utf8).withUnsafeBytes { raw in
            var cursor = JSONCursor(raw)
            let read = try cursor.optionalInt()
            let isAtEnd = cursor.isAtEnd
            #expect(read == value)
            #expect(isAtEnd)
        }
    }
}

import Foundation
import Testing

/// Pages that say which test shows what.
@Suite struct NamedTestTests {
    /// `SomeTests: what the test is called`.
    private static func mentions() throws -> [(place: String, suite: String, test: String)] {
        try Repository.documents.flatMap { document in
            document.codeSpans.compactMap { line, text in
                (try? /(\w+Tests): (.+)/.wholeMatch(in: text)).map {
                    ("\(document.path):\(line)", String($0.1), String($0.2))
                }
            }
        }
    }

    @Test func `every test that a page names exists`() throws {
        var tests: [String: Set<String>] = [:]
        for (_, text) in try Repository.sources("Tests") {
            // A file may have several suites: each of its tests counts for all of them.
            let names = Set(text.matches(of: /func `([^`]+)`/).map { String($0.1) })
            for suite in text.matches(of: /(?:struct|class|enum|extension) (\w+Tests)\b/) {
                tests[String(suite.1), default: []].formUnion(names)
            }
        }
        let mentions = try Self.mentions()
        #expect(mentions.count > 40)
        for mention in mentions {
            #expect(
                tests[mention.suite]?.contains(mention.test) == true,
                "\(mention.place): there is no test '\(mention.test)' in \(mention.suite)")
        }
    }
}

import Foundation
import NIOCore
import Testing

@testable import ModelAPI

/// What the fuzzer starts from is what these tests know. `SLIPWAY_WRITE_SEEDS=1` writes the files anew.
@Suite struct FuzzSeedTests {
    private static let folder = URL(filePath: #filePath).appending(path: "../../../Fuzz/Seeds").standardized

    private static var seeds: [(path: String, bytes: [UInt8])] {
        var seeds: [(path: String, bytes: [UInt8])] = []
        for api in ModelProtocol.allCases {
            seeds.append(("sse/\(api.rawValue)", Array(Recorded.stream(api).utf8)))
            seeds.append(("json/\(api.rawValue)-answer", Array(Recorded.plain(api).utf8)))
        }
        seeds.append(("eventstream/messages", Array(Translation.stream(.bedrockMessages).prefix(4096))))
        for (index, client) in TranslatedRequests.clients.enumerated() {
            let body = Array(TranslatedRequests.body(client).readableBytesView)
            seeds.append(("json/\(client.rawValue)-request", body))
            seeds.append(("request/\(client.rawValue)", [UInt8(ascii: "0") + UInt8(index)] + body))
            for (number, format) in UpstreamFormat.allCases.enumerated() {
                // The first byte chooses the pair, see FuzzTarget.
                let choice = UInt8((6 + index) * UpstreamFormat.allCases.count + number)
                seeds.append(("answer/\(client.rawValue)-\(format.rawValue)", [choice] + Translation.stream(format)))
            }
        }
        return seeds
    }

    @Test func `the fuzzer's seeds are the examples of the tests`() throws {
        let writes = ProcessInfo.processInfo.environment["SLIPWAY_WRITE_SEEDS"] != nil
        for seed in Self.seeds {
            let file = Self.folder.appending(path: seed.path)
            if writes {
                try FileManager.default.createDirectory(at: file.deletingLastPathComponent(), withIntermediateDirectories: true)
                try Data(seed.bytes).write(to: file)
            }
            let found = try Data(contentsOf: file)
            #expect(Array(found) == seed.bytes, "\(seed.path) differs: run this test with SLIPWAY_WRITE_SEEDS=1")
        }
    }
}

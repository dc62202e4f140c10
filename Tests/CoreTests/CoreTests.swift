import Foundation
import Testing

@testable import Core

@Suite struct IDTests {
    @Test func `new ids are version 7 and survive their text form`() throws {
        let id = TaskID()
        #expect(id.description.count == 36)
        #expect(id.description[id.description.index(id.description.startIndex, offsetBy: 14)] == "7")
        #expect(TaskID(id.description) == id)
        #expect(TaskID("no-uuid") == nil)
        let coded = try JSONEncoder().encode([id])
        #expect(try JSONDecoder().decode([TaskID].self, from: coded) == [id])
    }

    @Test func `a text that is no id is named in the error`() {
        #expect(throws: DecodingError.self) { try JSONDecoder().decode([TaskID].self, from: Data(#"["x"]"#.utf8)) }
    }
}

@Suite struct MoneyTests {
    @Test(arguments: [
        (0, "$0.00"), (1, "$0.000000001"), (1_500_000_000, "$1.50"), (-1_500_000_000, "-$1.50"), (4_215_000, "$0.004215"),
        (12_000_000_000, "$12.00"),
    ])
    func `amounts are written as people write dollars`(nanos: Int64, text: String) {
        #expect(NanoDollars(nanos).description == text)
    }

    @Test(arguments: ["12", "$12.50", "0.000001", "0.123456789"])
    func `what people write is read exactly`(text: String) {
        let plain = text.hasPrefix("$") ? String(text.dropFirst()) : text
        #expect(NanoDollars(dollars: text).map { Decimal($0.value) / 1_000_000_000 } == Decimal(string: plain))
    }

    @Test(arguments: ["", "-1", "1.", ".5", "1e3", "1,50", "0.1234567890", "99999999999999", "١"])
    func `what is no amount is refused`(text: String) {
        #expect(NanoDollars(dollars: text) == nil)
    }

    @Test func `a sum is rounded half up, once`() {
        var sum = PicoDollars()
        sum.add(1, at: .init(499))
        #expect(sum.rounded == NanoDollars(0))
        #expect(sum.ceiling == NanoDollars(1))
        sum.add(1, at: .init(1))
        #expect(sum.rounded == NanoDollars(1))
        sum.add(1_000_000, at: .init(3_000_000))
        #expect(sum.rounded == NanoDollars(3_000_000_001))
    }

    @Test func `a sum beyond the range of amounts becomes its end`() {
        var sum = PicoDollars()
        sum.add(.max, at: .init(1_000_000_000_000))
        sum.add(.max, each: NanoDollars(1_000_000_000_000))
        #expect(sum.ceiling == NanoDollars(.max) && sum.rounded == NanoDollars(.max))
        var search = PicoDollars()
        search.add(3, each: NanoDollars(10_000_000))
        #expect(search.rounded == NanoDollars(30_000_000) && search.ceiling == search.rounded)
    }
}

@Suite struct SecretTests {
    @Test func `a secret never describes itself`() {
        let secret = Secret("sk-ant-0123456789abcdef")
        #expect("\(secret)" == "***")
        #expect(String(reflecting: secret) == "***")
        var dumped = ""
        dump(["key": secret], to: &dumped)
        #expect(!dumped.contains("0123"))
        #expect(secret.hint == "sk-a...cdef")
        #expect(Secret("abcd").hint == "...")
    }
}

@Suite struct KeyRingTests {
    let place = KeyRing.Place(table: "providers", column: "api_key", row: "1")

    @Test func `what the first key sealed any ring that holds it opens`() throws {
        let old = KeyRing.generatedText(id: "k1")
        let ring = try KeyRing(text: old)
        let sealed = try ring.seal(Data("secret".utf8), at: place)
        let rotated = try KeyRing(text: KeyRing.generatedText(id: "k2") + "# retired\n" + old)
        #expect(rotated.primaryID == "k2")
        #expect(try rotated.open(sealed, at: place) == Data("secret".utf8))
    }

    @Test func `a sealed value does not open in another place, with another ring, or changed`() throws {
        let ring = try KeyRing(text: KeyRing.generatedText(id: "k1"))
        let sealed = try ring.seal(Data("secret".utf8), at: place)
        #expect(throws: AppError.self) { try ring.open(sealed, at: .init(table: "providers", column: "api_key", row: "2")) }
        #expect(throws: AppError.self) { try KeyRing(text: KeyRing.generatedText(id: "k1")).open(sealed, at: place) }
        #expect(throws: AppError.self) { try KeyRing(text: KeyRing.generatedText(id: "k9")).open(sealed, at: place) }
        var changed = sealed
        changed[changed.endIndex - 1] ^= 1
        #expect(throws: AppError.self) { try ring.open(changed, at: place) }
        #expect(throws: AppError.self) { try ring.open(Data(), at: place) }
    }

    @Test(arguments: ["", "# only a comment", "k1", "k1 abcd", "k1 zz"])
    func `a ring that is none is refused by line`(text: String) {
        #expect(throws: AppError.self) { try KeyRing(text: text) }
    }
}

@Suite struct PageTests {
    @Test func `a limit outside 1 to 1000 is refused by name`() throws {
        #expect(try PageRequest().limit == 100)
        for limit in [0, -1, 1001] {
            let error = #expect(throws: AppError.self) { try PageRequest(limit: limit) }
            #expect(error?.field == "limit")
        }
    }
}

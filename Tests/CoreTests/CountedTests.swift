import Core
import Testing

@Suite struct CountedTests {
    @Test(arguments: [(0, "0 files"), (1, "1 file"), (2, "2 files")])
    func `one has no plural`(number: Int, text: String) {
        #expect(counted(number, "file") == text)
    }
}

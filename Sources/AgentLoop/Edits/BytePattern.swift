/// A sequence of bytes to look for, in linear time however the bytes repeat themselves (Knuth, Morris and Pratt).
struct BytePattern {
    private let bytes: [UInt8]
    /// For each length of a matching beginning: the longest shorter beginning that it also ends in.
    private let borders: [Int]

    /// - Parameter bytes: not empty.
    init(_ bytes: [UInt8]) {
        self.bytes = bytes
        var borders = [0, 0]
        for index in bytes.indices.dropFirst() {
            var length = borders[index]
            while length > 0, bytes[index] != bytes[length] { length = borders[length] }
            borders.append(bytes[index] == bytes[length] ? length + 1 : 0)
        }
        self.borders = borders
    }

    /// Where it occurs first at or behind `start`.
    func firstIndex(in text: [UInt8], from start: Int) -> Int? {
        var length = 0
        for index in start..<text.count {
            while length > 0, text[index] != bytes[length] { length = borders[length] }
            if text[index] == bytes[length] { length += 1 }
            if length == bytes.count { return index + 1 - length }
        }
        return nil
    }
}

/// A number of bytes as people write it.
package struct ByteCount: Sendable, Equatable, CustomStringConvertible {
    package var bytes: Int

    private static let units = [("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)]

    package init(_ bytes: Int) { self.bytes = bytes }

    /// Reads `512MiB`, `2GiB`, `64KiB`; `GB`, `MB` and `KB` mean the same. Nil for anything else.
    package init?(configured text: String) {
        let digits = text.prefix(while: \.isNumber)
        let word = text.dropFirst(digits.count).uppercased()
        guard let number = Int(digits), number <= 1 << 20,
            let unit = Self.units.first(where: { $0.0.uppercased() == word || $0.0.replacing("i", with: "") == word })
        else { return nil }
        bytes = number * unit.1
    }

    package var description: String {
        let unit = Self.units.first { bytes >= $0.1 && bytes % $0.1 == 0 } ?? ("bytes", 1)
        return unit.1 == 1 ? "\(bytes) bytes" : "\(bytes / unit.1) \(unit.0)"
    }
}

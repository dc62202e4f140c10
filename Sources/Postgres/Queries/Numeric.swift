extension PostgresCell {
    /// A `numeric` as PostgreSQL writes it; sums of `bigint` columns have this type.
    ///
    /// Binary form: count of base-10000 digits, weight of the first, sign, decimals shown, then the digits, 16 bits each.
    func numeric() throws -> String {
        let bytes = try present()
        guard type == 1700, bytes.count >= 8 else { throw mismatch("a number") }
        let count = Int(bytes.bigEndian(Int16.self))
        let weight = Int(bytes.bigEndian(Int16.self, at: 2))
        let sign = bytes.bigEndian(UInt16.self, at: 4)
        let decimals = Int(bytes.bigEndian(Int16.self, at: 6))
        guard bytes.count == 8 + 2 * count else { throw Mismatch(reason: "is a malformed numeric") }
        switch sign {
        case 0xC000: return "NaN"
        case 0xD000: return "Infinity"
        case 0xF000: return "-Infinity"
        default: break
        }
        func digit(_ index: Int) -> Int {
            (0..<count).contains(index) ? Int(bytes.bigEndian(Int16.self, at: 8 + 2 * index)) : 0
        }
        func padded(_ digit: Int) -> String { String(String(10000 + digit).dropFirst()) }

        var whole = ""
        if weight >= 0 {
            for index in 0...weight { whole += padded(digit(index)) }
        }
        whole = String(whole.drop { $0 == "0" })
        var fraction = ""
        var index = weight + 1
        while fraction.count < decimals {
            fraction += padded(digit(index))
            index += 1
        }
        let text = (whole.isEmpty ? "0" : whole) + (decimals > 0 ? "." + fraction.prefix(decimals) : "")
        return sign == 0x4000 ? "-" + text : text
    }
}

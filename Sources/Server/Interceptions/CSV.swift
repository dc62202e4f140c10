/// Lines as RFC 4180 has them. What others chose (names of models and clients) cannot become a formula in a spreadsheet.
struct CSV {
    private(set) var text = ""

    init(_ columns: [String]) { add(columns) }

    mutating func add(_ cells: [String?]) { text += Self.line(cells) }

    static func line(_ cells: [String?]) -> String { cells.map { cell($0 ?? "") }.joined(separator: ",") + "\r\n" }

    private static func cell(_ text: String) -> String {
        var text = text
        if let first = text.first, "=+-@\t\r".contains(first), Double(text) == nil { text = "'" + text }
        guard text.contains(where: { "\",\r\n".contains($0) || $0 == "\r\n" }) else { return text }
        return "\"" + text.replacing("\"", with: "\"\"") + "\""
    }

    /// Exact: nine decimals.
    static func dollars(_ nanoDollars: Int64) -> String {
        let (whole, rest) = nanoDollars.magnitude.quotientAndRemainder(dividingBy: 1_000_000_000)
        return "\(nanoDollars < 0 ? "-" : "")\(whole)." + String(String(1_000_000_000 + rest).dropFirst())
    }
}

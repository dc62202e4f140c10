/// Columns as wide as their widest cell; numbers to the right.
struct Table {
    struct Column {
        var title: String
        var isNumber = false
    }

    private let columns: [Column]
    private var rows: [[String]] = []

    /// - Parameter titles: a title that begins with `#` heads a column of numbers.
    init(_ titles: String...) { self.init(titles) }

    init(_ titles: [String]) {
        columns = titles.map { $0.hasPrefix("#") ? Column(title: String($0.dropFirst()), isNumber: true) : Column(title: $0) }
    }

    mutating func add(_ cells: String...) { add(row: cells) }
    mutating func add(row: [String]) { rows.append(row.map { Terminal.plain($0).replacing("\n", with: " ") }) }

    func show(ifEmpty: String) {
        guard !rows.isEmpty else { return print(ifEmpty) }
        let widths = columns.indices.map { index in
            max(columns[index].title.count, rows.map { $0[index].count }.max() ?? 0)
        }
        func line(_ cells: [String]) -> String {
            zip(cells.indices, cells).map { index, cell in
                let space = String(repeating: " ", count: widths[index] - cell.count)
                if columns[index].isNumber { return space + cell }
                return index == columns.count - 1 ? cell : cell + space
            }.joined(separator: "  ")
        }
        print(Terminal.styled(line(columns.map { $0.title.uppercased() }), .dim))
        for row in rows { print(line(row)) }
    }
}

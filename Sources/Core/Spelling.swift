/// Finds the known name that somebody probably meant.
package enum Spelling {
    /// Nil when no name is near: at most a third of the letters may differ.
    package static func nearest(to name: String, among names: [String]) -> String? {
        let ranked = names.map { (name: $0, distance: distance(name, $0)) }.min { $0.distance < $1.distance }
        guard let best = ranked, best.distance <= max(2, name.count / 3) else { return nil }
        return best.name
    }

    /// Levenshtein's: insertions, removals and changes of one letter.
    private static func distance(_ a: String, _ b: String) -> Int {
        let b = Array(b)
        var row = Array(0...b.count)
        for (i, letter) in a.enumerated() {
            var diagonal = row[0]
            row[0] = i + 1
            for j in b.indices {
                let above = row[j + 1]
                row[j + 1] = min(diagonal + (letter == b[j] ? 0 : 1), above + 1, row[j] + 1)
                diagonal = above
            }
        }
        return row[b.count]
    }
}

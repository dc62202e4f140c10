import Postgres

/// The database schema: the files of `migrations/`, embedded when this was built.
package enum Schema {
    /// In order of their numbers. A file is named `NNNN_name.sql`; anything else in the folder is ignored.
    package static let migrations: [Migration] = migrations(from: Embedded.files)

    static func migrations(from files: [String: String]) -> [Migration] {
        files.compactMap { path, text in
            guard path.hasSuffix(".sql"), let bar = path.firstIndex(of: "_"), let number = Int(path[..<bar]) else { return nil }
            return Migration(number: number, name: String(path[path.index(after: bar)...].dropLast(4)), sql: text)
        }
        .sorted { $0.number < $1.number }
    }
}

import Core
import Foundation

/// Where Debian keeps the programs of one major version: `/usr/lib/postgresql/15/bin`.
struct PostgresBinaries: Equatable {
    var version: Int
    var directory: String

    var initdb: String { directory + "/initdb" }
    var postgres: String { directory + "/postgres" }

    /// - Parameter version: the major version that made the existing cluster; nil takes the newest.
    /// - Throws: `unavailable`, saying what to install.
    static func find(version: Int?, root: String = "/usr/lib/postgresql") throws -> PostgresBinaries {
        let versions = ((try? FileManager.default.contentsOfDirectory(atPath: root)) ?? []).compactMap(Int.init).filter {
            FileManager.default.isExecutableFile(atPath: "\(root)/\($0)/bin/postgres")
                && FileManager.default.isExecutableFile(atPath: "\(root)/\($0)/bin/initdb")
        }
        if let version {
            guard versions.contains(version) else {
                throw AppError(
                    .unavailable,
                    "The data directory was made by PostgreSQL \(version), which is not installed. Run: apt-get install postgresql-\(version)"
                )
            }
            return .init(version: version, directory: "\(root)/\(version)/bin")
        }
        guard let newest = versions.filter({ $0 >= 14 }).max() else {
            throw AppError(
                .unavailable,
                "PostgreSQL is not installed. Run: apt-get install postgresql; or name a database with --postgres-url.")
        }
        return .init(version: newest, directory: "\(root)/\(newest)/bin")
    }
}

import Core
import Foundation

/// The user that a server becomes when root starts it.
struct ServerAccount: Sendable, Equatable {
    static let name = "slipway"

    var uid: uid_t
    var gid: gid_t
    var home: String

    /// - Throws: `unavailable`, with the command that makes the user.
    static func find() throws -> ServerAccount {
        guard let entry = getpwnam(name) else {
            throw AppError(
                .unavailable,
                """
                Started by root, the server runs as the user \(name), which this machine does not have. \
                Run: useradd --system --user-group --no-create-home --home-dir /nonexistent --shell /usr/sbin/nologin \(name)
                """)
        }
        let account = ServerAccount(
            uid: entry.pointee.pw_uid, gid: entry.pointee.pw_gid, home: String(cString: entry.pointee.pw_dir))
        guard account.uid != 0, account.gid != 0 else {
            throw AppError(.unavailable, "The user \(name) of this machine has root's number: give it numbers of its own.")
        }
        return account
    }
}

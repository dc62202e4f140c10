import Core
import Foundation
import Policies

/// A policy as somebody wrote it, in one of its versions.
package struct StoredPolicy: Sendable {
    package enum Origin: String, Sendable {
        /// Put over the API.
        case api
        /// Read from the folder of `--policy-dir`.
        case file
    }

    package var organization: OrganizationID
    package var name: String
    package var version: Int
    /// YAML.
    package var source: String
    package var origin: Origin
    package var createdAt: Date
    package var object: PolicyObject
}

/// A version as the list of versions shows it.
package struct PolicyVersion: Sendable {
    package var name: String
    package var version: Int
    /// Nil: with this version the policy was deleted.
    package var source: String?
    package var origin: StoredPolicy.Origin
    /// Who made it; nil: the server, from a file.
    package var actor: String?
    package var createdAt: Date
}

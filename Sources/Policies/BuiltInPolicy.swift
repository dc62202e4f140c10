/// The policy of `config/policies/default.yaml`, as it was built in.
package enum BuiltInPolicy {
    package static let name = "default"
    package static let source = Embedded.files["default.yaml"] ?? ""

    /// It is read when the server starts, and a test reads it too.
    package static func read() throws(PolicyFileError) -> PolicyObject { try PolicyReader.read(source) }
}

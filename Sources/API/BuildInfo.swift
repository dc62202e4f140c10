/// `GET /api/v2/buildinfo`.
public struct BuildInfo: Codable, Sendable {
    public var version: String
    public init(version: String) { self.version = version }
}

/// `POST /api/v2/files`: the answer names the file as Coder's does, by `hash`.
public struct UploadResponse: Codable, Sendable {
    public var hash: String
    public var size: Int
    public var sha256: String

    public init(hash: String, size: Int, sha256: String) {
        self.hash = hash
        self.size = size
        self.sha256 = sha256
    }
}

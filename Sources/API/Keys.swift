/// A key of the server's ring; never the key itself.
public struct EncryptionKey: Codable, Sendable, Equatable {
    public var id: String
    /// Encrypts what is written from now on.
    public var isFirst: Bool
    /// False: something stored needs it, and the server does not have it.
    public var isInRing: Bool
    /// How many stored secrets it encrypts.
    public var values: Int

    public init(id: String, isFirst: Bool, isInRing: Bool, values: Int) {
        self.id = id
        self.isFirst = isFirst
        self.isInRing = isInRing
        self.values = values
    }
}

public struct EncryptionKeyList: Codable, Sendable, Equatable {
    public var keys: [EncryptionKey]

    public init(keys: [EncryptionKey]) {
        self.keys = keys
    }
}

/// The answer to `POST /api/v2/keys/rotate`, which does a part at a time: call it until nothing remains.
public struct KeyRotation: Codable, Sendable, Equatable {
    /// The first key of the ring.
    public var key: String
    /// How many secrets this call sealed with it.
    public var rotated: Int
    /// How many other keys still encrypt.
    public var remaining: Int

    public init(key: String, rotated: Int, remaining: Int) {
        self.key = key
        self.rotated = rotated
        self.remaining = remaining
    }
}

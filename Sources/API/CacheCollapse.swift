/// A prompt cache that a session lost between two calls, and where their requests differ.
public struct CacheCollapse: Codable, Sendable, Equatable {
    /// The call before.
    public var previousID: String
    /// Input tokens read from the cache then and now.
    public var cachedBefore: Int
    public var cachedNow: Int
    /// `tools`, `system`, `messages[3]` …; absent: the requests agree, so the provider dropped the cache.
    public var place: String?
    /// The number of the message, if the difference lies in one.
    public var message: Int?
    /// The first differing byte of this call's request, and what stands around it, if it is on record.
    public var byteOffset: Int?
    public var excerpt: String?
    /// The same of the call before.
    public var previousByteOffset: Int?
    public var previousExcerpt: String?

    public init(
        previousID: String, cachedBefore: Int, cachedNow: Int, place: String?, message: Int?, byteOffset: Int?, excerpt: String?,
        previousByteOffset: Int?, previousExcerpt: String?
    ) {
        self.previousID = previousID
        self.cachedBefore = cachedBefore
        self.cachedNow = cachedNow
        self.place = place
        self.message = message
        self.byteOffset = byteOffset
        self.excerpt = excerpt
        self.previousByteOffset = previousByteOffset
        self.previousExcerpt = previousExcerpt
    }
}

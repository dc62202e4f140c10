import FoundationEssentials

package struct FileEntry: Codable, Sendable, Hashable {
    package enum Kind: String, Codable, Sendable { case file, directory, link, fifo, socket, device, other }

    /// Relative to the directory that was listed.
    package var path: String
    package var kind: Kind
    package var size: Int64
    package var modifiedAt: Date
    /// Permission bits.
    package var mode: UInt32
    /// Where a link points, as written in it.
    package var target: String?

    package init(path: String, kind: Kind, size: Int64, modifiedAt: Date, mode: UInt32, target: String? = nil) {
        (self.path, self.kind, self.size, self.modifiedAt, self.mode, self.target) = (path, kind, size, modifiedAt, mode, target)
    }
}

package struct FileListing: Codable, Sendable, Hashable {
    package var entries: [FileEntry]
    /// Why entries are missing, if they are.
    package var truncated: String?

    package init(entries: [FileEntry], truncated: String? = nil) { (self.entries, self.truncated) = (entries, truncated) }
}

/// What is known of a file when its reading begins.
package struct FileInfo: Codable, Sendable, Hashable {
    package var size: Int64
    package var modifiedAt: Date
    package var mode: UInt32

    package init(size: Int64, modifiedAt: Date, mode: UInt32) { (self.size, self.modifiedAt, self.mode) = (size, modifiedAt, mode) }
}

package struct FileContent: Codable, Sendable, Hashable {
    package var info: FileInfo
    package var offset: Int64
    package var data: Data

    package init(info: FileInfo, offset: Int64, data: Data) { (self.info, self.offset, self.data) = (info, offset, data) }
}

package struct FileWritten: Codable, Sendable, Hashable {
    package var size: Int64
    package var created: Bool

    package init(size: Int64, created: Bool) { (self.size, self.created) = (size, created) }
}

package struct SearchQuery: Codable, Sendable, Hashable {
    /// A POSIX extended regular expression, or plain text.
    package var pattern: String
    package var path: String
    /// Names that are looked at, e.g. `*.swift`; with a slash it is compared with the path below `path`.
    package var glob: String?
    package var limit: Int
    package var literal: Bool
    package var ignoreCase: Bool

    package init(
        pattern: String, path: String = ".", glob: String? = nil, limit: Int = 200, literal: Bool = false, ignoreCase: Bool = false
    ) {
        (self.pattern, self.path, self.glob, self.limit) = (pattern, path, glob, limit)
        (self.literal, self.ignoreCase) = (literal, ignoreCase)
    }
}

package struct SearchHit: Codable, Sendable, Hashable {
    package var path: String
    package var line: Int
    /// The line, cut at 400 bytes.
    package var text: String

    package init(path: String, line: Int, text: String) { (self.path, self.line, self.text) = (path, line, text) }
}

package struct SearchResult: Codable, Sendable, Hashable {
    package var hits: [SearchHit]
    package var filesSearched: Int
    /// Why the search ended early, if it did.
    package var truncated: String?

    package init(hits: [SearchHit], filesSearched: Int, truncated: String? = nil) {
        (self.hits, self.filesSearched, self.truncated) = (hits, filesSearched, truncated)
    }
}

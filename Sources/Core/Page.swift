/// A part of a list, and where the next part begins.
package struct Page<Item: Sendable>: Sendable {
    package var items: [Item]
    /// Opaque to clients; nil at the end.
    package var next: String?

    package init(items: [Item], next: String?) {
        self.items = items
        self.next = next
    }
}

/// Which part of a list is asked for.
package struct PageRequest: Sendable {
    /// 1…1000.
    package let limit: Int
    package let after: String?

    /// - Throws: `badRequest` for a limit outside 1…1000.
    package init(limit: Int? = nil, after: String? = nil) throws {
        let limit = limit ?? 100
        guard (1...1000).contains(limit) else {
            throw AppError(.badRequest, "limit is \(limit); it must be from 1 to 1000.", field: "limit")
        }
        self.limit = limit
        self.after = after
    }
}

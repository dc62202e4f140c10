/// Which statements a connection has prepared, by text and types of the values. Pure: it says what to prepare and what to drop.
struct StatementCache {
    struct Key: Hashable {
        var sql: String
        var types: [UInt32]
    }

    struct Entry {
        var name: String
        var lastUse: UInt64
        var columns: Columns?
    }

    let capacity: Int
    private var entries: [Key: Entry] = [:]
    private var uses: UInt64 = 0
    private var named: UInt64 = 0

    init(capacity: Int = 400) { self.capacity = capacity }

    var count: Int { entries.count }

    /// The name under which the statement is prepared; nil when it is not.
    mutating func find(_ key: Key) -> String? {
        uses += 1
        entries[key]?.lastUse = uses
        return entries[key]?.name
    }

    /// A name for a statement that is about to be prepared. Names are never used twice.
    mutating func newName() -> String {
        named += 1
        return "s\(named)"
    }

    /// PostgreSQL has prepared it.
    mutating func add(_ key: Key, name: String) {
        uses += 1
        entries[key] = .init(name: name, lastUse: uses)
    }

    mutating func forget(_ key: Key) { entries[key] = nil }

    func columns(_ key: Key) -> Columns? { entries[key]?.columns }
    mutating func keep(_ columns: Columns, for key: Key) { entries[key]?.columns = columns }

    /// Names to deallocate: a tenth of all, those not used for longest, once there are more than `capacity`.
    mutating func evict() -> [String] {
        guard entries.count > capacity else { return [] }
        let oldest = entries.sorted { $0.value.lastUse < $1.value.lastUse }.prefix(entries.count - capacity + capacity / 10)
        for (key, _) in oldest { entries[key] = nil }
        return oldest.map(\.value.name)
    }
}

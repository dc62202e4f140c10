/// Keeps the first and the last bytes of an output of any length, in bounded memory.
package struct HeadTail: Sendable {
    private let headLimit: Int
    private let tailLimit: Int
    private var head: [UInt8] = []
    private var tail: [UInt8] = []
    /// All bytes that were fed.
    package private(set) var total = 0

    package init(head: Int, tail: Int) {
        headLimit = head
        tailLimit = tail
    }

    package mutating func feed(_ bytes: some Collection<UInt8>) {
        total += bytes.count
        let toHead = min(headLimit - head.count, bytes.count)
        head += bytes.prefix(toHead)
        tail += bytes.dropFirst(toHead)
        // Trimmed rarely, so that feeding costs a constant per byte.
        if tail.count > 2 * tailLimit + 4096 { tail.removeFirst(tail.count - tailLimit) }
    }

    /// Everything, when it fitted.
    package var whole: [UInt8]? { total <= headLimit + tailLimit ? head + tail : nil }
    package var first: [UInt8] { head }
    package var last: [UInt8] { Array(tail.suffix(tailLimit)) }
}

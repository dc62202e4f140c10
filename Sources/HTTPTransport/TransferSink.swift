/// Receives one transfer, on the transport's own thread: nothing here may block.
///
/// Order: `head` once, `body` any number of times, `finished` once; `turnEnded` after each batch of these. What arrives in
/// one turn of the loop is to be collected and handed on in `turnEnded`: waking a reader for each chunk costs more than the chunk.
package protocol TransferSink: AnyObject, Sendable {
    func head(status: Int, headers: [(name: String, value: String)])
    /// Takes the bytes, or returns false: then they come again after `Transfer.resume()`, and nothing arrives before.
    func body(_ bytes: UnsafeRawBufferPointer) -> Bool
    /// - Parameter failure: nil when the answer is complete, `CancellationError` after `cancel()`, else an `AppError`.
    func finished(_ failure: (any Error)?)
    func turnEnded()
}

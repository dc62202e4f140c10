/// Headers that carry what does not fit into a body of raw bytes.
package enum Headers {
    /// JSON `FileInfo`.
    package static let info = "x-slipway-info"
    /// JSON `ProcessStatus`.
    package static let status = "x-slipway-status"
    package static let cursor = "x-slipway-cursor"
    package static let truncated = "x-slipway-truncated-before"
}

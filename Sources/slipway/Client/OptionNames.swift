/// What fields of the API are called on the command line, where that is something else.
enum OptionNames {
    private static let byField = [
        "requests_per_minute": "--requests", "tokens_per_minute": "--tokens", "content_days": "--content-days",
        "record_days": "--record-days", "share_percent": "--hedge-share", "floor_milliseconds": "--hedge-floor",
        "valid_from": "--from", "valid_to": "--to", "base_url": "--base-url", "first_byte_seconds": "--first-byte",
        "idle_seconds": "--idle", "total_seconds": "--total", "ping_seconds": "--ping", "drain_seconds": "--drain",
    ]

    /// The server's words in those of the command line.
    static func said(_ message: String) -> String {
        message.replacing(/[a-z]+(?:_[a-z]+)+/) { byField[String($0.output)] ?? String($0.output) }
    }
}

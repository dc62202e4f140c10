/// How long a sink that failed is left alone: a second, twice as long each time, at most five minutes.
enum SinkBackoff {
    static func pause(afterFailures failures: Int) -> Duration {
        .seconds(min(300, 1 << min(max(failures - 1, 0), 9)))
    }
}

import Logging
import NIOConcurrencyHelpers

/// Writes as `inner` does, until the server closes: what then breaks off was ended on purpose and is no error.
struct ClosingLogHandler: LogHandler {
    var inner: any LogHandler
    let isClosing: NIOLockedValueBox<Bool>

    var metadata: Logger.Metadata {
        get { inner.metadata }
        set { inner.metadata = newValue }
    }
    var metadataProvider: Logger.MetadataProvider? {
        get { inner.metadataProvider }
        set { inner.metadataProvider = newValue }
    }
    var logLevel: Logger.Level {
        get { inner.logLevel }
        set { inner.logLevel = newValue }
    }

    subscript(metadataKey key: String) -> Logger.Metadata.Value? {
        get { inner[metadataKey: key] }
        set { inner[metadataKey: key] = newValue }
    }

    func log(event: LogEvent) {
        if isClosing.withLockedValue({ $0 }), event.level < .critical { return }
        inner.log(event: event)
    }
}

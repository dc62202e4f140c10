import HummingbirdCore
import HummingbirdTLS
import Logging
import NIOConcurrencyHelpers
import NIOCore

/// Puts TLS under a connection, each with the certificate of that moment.
struct SecureChannel<Base: ServerChildChannel>: ServerChildChannel {
    private struct Made {
        var number: Int
        var channel: TLSChannel<Base>
    }

    private let base: Base
    private let certificate: ServerCertificate
    private let made: NIOLockedValueBox<Made>

    init(_ base: Base, _ certificate: ServerCertificate) throws {
        self.base = base
        self.certificate = certificate
        let current = certificate.current
        made = .init(Made(number: current.number, channel: try TLSChannel(base, tlsConfiguration: current.configuration)))
    }

    func setup(channel: any Channel, logger: Logger) -> EventLoopFuture<Base.Value> {
        let current = certificate.current
        let secure = made.withLockedValue { made in
            // One that cannot be made was refused when it was read.
            if made.number != current.number, let next = try? TLSChannel(base, tlsConfiguration: current.configuration) {
                made = Made(number: current.number, channel: next)
            }
            return made.channel
        }
        return secure.setup(channel: channel, logger: logger)
    }

    func handle(value: Base.Value, logger: Logger) async { await base.handle(value: value, logger: logger) }
}

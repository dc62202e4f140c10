import Core
import Crypto
import Foundation
import ModelAPI
import NIOCore

/// Keys of Amazon's: one that is `<access key id>:<secret>[:<session token>]` signs requests, any other goes along as a bearer token.
enum BedrockSigning {
    /// What goes along with a request; nothing where the key signs.
    static func bearer(_ key: Provider.Key, of provider: Provider) -> Secret<String> {
        provider.type == .bedrock && credentials(key) != nil ? Secret("") : key.secret
    }

    /// What a signature adds to a POST. Nothing of it may change afterwards.
    static func headers(
        _ key: Provider.Key, _ provider: Provider, route: String, body: ByteBuffer
    ) -> [(name: String, value: String)] {
        guard let credentials = credentials(key) else { return [] }
        let url = provider.url(for: route)
        let rest = url.drop { $0 != ":" }.dropFirst(3)
        let host = String(rest.prefix { $0 != "/" })
        let signer = SigV4(
            credentials: credentials, region: provider.settings.region ?? region(ofHost: host), service: "bedrock")
        return signer.headers(
            method: "POST", path: String(rest.dropFirst(host.count)), headers: [(name: "host", value: host)],
            bodyHash: body.withUnsafeReadableBytes { SHA256.hash(bytes: $0) }, seconds: Int(Date().timeIntervalSince1970))
    }

    private static func credentials(_ key: Provider.Key) -> AWSCredentials? {
        let parts = key.secret.reveal().split(separator: ":", maxSplits: 2)
        guard parts.count >= 2 else { return nil }
        return AWSCredentials(
            accessKeyID: String(parts[0]), secretAccessKey: Secret(String(parts[1])),
            sessionToken: parts.count > 2 ? Secret(String(parts[2])) : nil)
    }

    /// `bedrock-runtime.eu-central-1.amazonaws.com` names it.
    private static func region(ofHost host: String) -> String {
        let parts = host.split(separator: ".")
        return parts.count >= 4 && parts[0].hasPrefix("bedrock-runtime") ? String(parts[1]) : "us-east-1"
    }
}

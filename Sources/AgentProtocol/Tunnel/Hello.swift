import FoundationEssentials
import NIOCore

/// What the dialling agent says first, as one line: `slipway-tunnel {…json…}`.
package struct Hello: Codable, Sendable {
    package enum Role: String, Codable, Sendable {
        /// The agent answers: files, processes.
        case serve
        /// The agent asks: reports, logs.
        case call
    }

    package var role: Role
    package var token: String
    /// The protocol versions the agent speaks.
    package var versions: [Int]
    /// The agent's own version, for people.
    package var agent: String
    /// Random per start of the sandbox: what an earlier one was doing is gone.
    package var sandbox: String
    /// Which start of the agent within its sandbox this is, from 1.
    package var start: Int

    package init(role: Role, token: String, versions: [Int] = ProtocolVersion.spoken, agent: String, sandbox: String, start: Int) {
        (self.role, self.token, self.versions) = (role, token, versions)
        (self.agent, self.sandbox, self.start) = (agent, sandbox, start)
    }
}

/// The server's answer, as one line of the same form.
package struct HelloReply: Codable, Sendable {
    package var accepted: Bool
    /// The version both will speak.
    package var version: Int?
    package var server: String
    package var versions: [Int]
    package var code: String?
    package var message: String?

    package static func accept(version: Int) -> Self {
        Self(accepted: true, version: version, server: ProtocolVersion.software, versions: ProtocolVersion.spoken)
    }

    package static func refuse(_ code: String, _ message: String) -> Self {
        Self(
            accepted: false, server: ProtocolVersion.software, versions: ProtocolVersion.spoken, code: code, message: message)
    }
}

package enum ProtocolVersion {
    /// The present version and, once there is one, the previous.
    package static let spoken = [1]
    package static let software = "0.1.0"

    package static func highestCommon(_ theirs: [Int]) -> Int? { spoken.filter(theirs.contains).max() }
}

/// The line around a hello.
enum HelloLine {
    static let prefix = "slipway-tunnel "
    static let limit = 4096

    static func encode(_ value: some Encodable) throws -> ByteBuffer {
        var line = ByteBuffer(string: prefix)
        line.writeBytes(try JSONEncoder().encode(value))
        line.writeInteger(UInt8(ascii: "\n"))
        return line
    }

    /// Takes one line off the front of `bytes`; nil if there is none yet.
    static func take<Value: Decodable>(_ type: Value.Type, from bytes: inout ByteBuffer) throws -> Value? {
        let view = bytes.readableBytesView
        guard let newline = view.firstIndex(of: UInt8(ascii: "\n")) else {
            if bytes.readableBytes > limit { throw TunnelError.badHello("no line within \(limit) bytes") }
            return nil
        }
        let line = view[view.startIndex..<newline]
        guard line.count <= limit, line.starts(with: prefix.utf8) else {
            throw TunnelError.badHello("the line does not begin with '\(prefix)'")
        }
        let value: Value
        do { value = try JSONDecoder().decode(type, from: Data(line.dropFirst(prefix.utf8.count))) } catch {
            throw TunnelError.badHello("unreadable: \(error)")
        }
        bytes.moveReaderIndex(to: newline + 1)
        return value
    }
}

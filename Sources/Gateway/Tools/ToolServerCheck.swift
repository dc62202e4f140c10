import Core

/// What a server of tools, and the headers for it, may look like.
enum ToolServerCheck {
    static func check(url: String) throws {
        if url.hasPrefix("stdio:") || !url.contains("://") {
            throw AppError(
                .badRequest,
                "'\(url.prefix(200))' is no http(s) URL; a server that is a program is registered with its command ('slipway mcp add NAME --stdio -- COMMAND').",
                field: "url")
        }
        let rest = url.hasPrefix("https://") ? url.dropFirst(8) : url.hasPrefix("http://") ? url.dropFirst(7) : ""
        guard !rest.isEmpty, !rest.hasPrefix("/"), url.utf8.count <= 2048, url.utf8.allSatisfy({ $0 > 0x20 && $0 < 0x7F }),
            !rest.contains(where: { "@#".contains($0) })
        else {
            throw AppError(
                .badRequest, "The URL '\(url.prefix(200))' is not http(s)://host[:port][/path], without user or fragment.",
                field: "url")
        }
    }

    static func check(command: [String]) throws {
        guard (1...64).contains(command.count), command.allSatisfy({ (1...4096).contains($0.utf8.count) && !$0.utf8.contains(0) }),
            !command[0].hasPrefix("-"), !command[0].hasPrefix("."), command.reduce(0, { $0 + $1.utf8.count }) <= 16_384
        else {
            throw AppError(
                .badRequest,
                "command must be a program, by its name or absolute path, and at most 63 arguments, none of them empty, of 16 KiB together.",
                field: "command")
        }
    }

    static func check(environment: [ToolServer.Header]) throws {
        guard environment.count <= 32, Set(environment.map(\.name)).count == environment.count else {
            throw AppError(.badRequest, "environment has more than 32 values, or a name twice.", field: "environment")
        }
        for value in environment {
            guard value.name.wholeMatch(of: /[A-Za-z_][A-Za-z0-9_]{0,99}/) != nil, !value.name.hasPrefix("LD_") else {
                throw AppError(
                    .badRequest, "'\(value.name.prefix(100))' is no name of an environment variable that can be set.",
                    field: "environment")
            }
            guard (1...8192).contains(value.value.utf8.count), !value.value.utf8.contains(0) else {
                throw AppError(
                    .badRequest, "The value of \(value.name) must have 1 to 8192 bytes, none of them zero.", field: "environment")
            }
        }
    }

    /// What a program has none of.
    static func check(program change: ToolServerService.Change) throws {
        for (isGiven, field) in [
            (change.url != nil, "url"), (change.headers?.isEmpty == false, "headers"),
            (change.auth.map { $0 != .none } ?? false, "auth"),
            (change.oauthClientID?.isEmpty == false, "oauth_client_id"), (change.allowsPrivateAddresses == true, "allow_private"),
        ] where isGiven {
            throw AppError(.badRequest, "A server that is a program has no \(field): it is one for all users.", field: field)
        }
    }

    /// `https://host:port` of a URL that was checked.
    static func origin(of url: String) -> String {
        let parts = url.split(separator: "/", maxSplits: 2, omittingEmptySubsequences: false)
        guard parts.count == 3 else { return url }
        return "\(parts[0])//\(parts[2].prefix { $0 != "/" && $0 != "?" })".lowercased()
    }

    static func check(patterns: [String], field: String) throws {
        guard patterns.count <= 200 else {
            throw AppError(.badRequest, "\(field) has \(patterns.count) patterns; at most 200.", field: field)
        }
        for (index, pattern) in patterns.enumerated() {
            guard (1...200).contains(pattern.utf8.count), pattern.utf8.allSatisfy({ $0 > 0x20 && $0 < 0x7F }) else {
                throw AppError(
                    .badRequest,
                    "\(field)[\(index)] must be a tool's name of 1 to 200 printable ASCII characters, with * for any run of them, e.g. 'read_*'.",
                    field: "\(field)[\(index)]")
            }
        }
    }

    static func check(timeout: Int) throws {
        guard (1...600).contains(timeout) else {
            throw AppError(.badRequest, "timeout_seconds is \(timeout); it must be from 1 to 600.", field: "timeout_seconds")
        }
    }

    /// Those that the protocol or the connection needs for itself.
    private static let reserved: Set<String> = [
        "accept", "accept-encoding", "connection", "content-length", "content-type", "expect", "host", "keep-alive",
        "last-event-id",
        "mcp-protocol-version", "mcp-session-id", "te", "trailer", "transfer-encoding", "upgrade",
    ]

    static func check(headers: [ToolServer.Header]) throws {
        guard headers.count <= 16 else {
            throw AppError(.badRequest, "There are \(headers.count) headers; at most 16.", field: "headers")
        }
        var names: Set<String> = []
        for header in headers {
            let name = header.name.lowercased()
            let isToken = name.utf8.allSatisfy {
                (0x61...0x7A).contains($0) || (0x30...0x39).contains($0) || "!#$%&'*+-.^_`|~".utf8.contains($0)
            }
            guard isToken, (1...100).contains(name.utf8.count), !reserved.contains(name) else {
                throw AppError(
                    .badRequest,
                    "'\(header.name.prefix(100))' is no header that can be set; one like Authorization or X-Api-Key can.",
                    field: "headers")
            }
            guard names.insert(name).inserted else {
                throw AppError(.badRequest, "The header \(name) is given twice.", field: "headers")
            }
            guard (1...8192).contains(header.value.utf8.count), header.value.utf8.allSatisfy({ $0 >= 0x20 && $0 < 0x7F }) else {
                throw AppError(
                    .badRequest, "The value of the header \(name) must be 1 to 8192 printable ASCII characters.", field: "headers")
            }
        }
    }
}

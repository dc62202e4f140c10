/// What the demo model answers, in neither protocol yet.
struct Reply: Sendable, Decodable {
    var thinking: String?
    var text: String?
    /// How often the text is said.
    var times = 1
    var calls: [Call] = []
    /// Anthropic's word; the default follows from what is in the reply.
    var stop: String?
    /// Adds an event and fields that no client knows.
    var unknownParts = false
    var pace = Pace()
    var fault: Fault?

    struct Call: Sendable, Decodable {
        var tool: String
        var arguments: JSON = [:]
        /// Instead of `arguments`: text that need not be JSON.
        var raw: String?

        /// The arguments as they are sent.
        var text: String { raw ?? arguments.text }

        private enum CodingKeys: String, CodingKey, CaseIterable { case tool, arguments, raw }

        init(from decoder: any Decoder) throws {
            try decoder.refuseUnknownKeys(CodingKeys.self)
            let fields = try decoder.container(keyedBy: CodingKeys.self)
            tool = try fields.decode(String.self, forKey: .tool)
            arguments = try fields.decodeIfPresent(JSON.self, forKey: .arguments) ?? [:]
            raw = try fields.decodeIfPresent(String.self, forKey: .raw)
        }
    }

    /// How fast a streamed reply comes.
    struct Pace: Sendable, Decodable, Equatable {
        var firstMilliseconds = 120
        var everyMilliseconds = 6
        /// Characters in one event.
        var characters = 24

        private enum CodingKeys: String, CodingKey, CaseIterable {
            case firstMilliseconds = "first_ms"
            case everyMilliseconds = "every_ms"
            case characters
        }

        init() {}

        init(from decoder: any Decoder) throws {
            try decoder.refuseUnknownKeys(CodingKeys.self)
            let fields = try decoder.container(keyedBy: CodingKeys.self)
            firstMilliseconds = try fields.decodeIfPresent(Int.self, forKey: .firstMilliseconds) ?? firstMilliseconds
            everyMilliseconds = try fields.decodeIfPresent(Int.self, forKey: .everyMilliseconds) ?? everyMilliseconds
            characters = max(1, try fields.decodeIfPresent(Int.self, forKey: .characters) ?? characters)
        }
    }

    private enum CodingKeys: String, CodingKey, CaseIterable {
        case thinking, text, times, calls, stop, pace, fault
        case unknownParts = "unknown_parts"
    }

    init(from decoder: any Decoder) throws {
        try decoder.refuseUnknownKeys(CodingKeys.self)
        let fields = try decoder.container(keyedBy: CodingKeys.self)
        thinking = try fields.decodeIfPresent(String.self, forKey: .thinking)
        text = try fields.decodeIfPresent(String.self, forKey: .text)
        times = try fields.decodeIfPresent(Int.self, forKey: .times) ?? 1
        calls = try fields.decodeIfPresent([Call].self, forKey: .calls) ?? []
        stop = try fields.decodeIfPresent(String.self, forKey: .stop)
        unknownParts = try fields.decodeIfPresent(Bool.self, forKey: .unknownParts) ?? false
        pace = try fields.decodeIfPresent(Pace.self, forKey: .pace) ?? Pace()
        fault = try fields.decodeIfPresent(Fault.self, forKey: .fault)
    }

    init(text: String) { self.text = text }
}

/// What goes wrong on purpose.
struct Fault: Sendable, Decodable, Equatable {
    enum Kind: String, Sendable, Decodable {
        /// An answer with this `status` instead of the reply.
        case status
        /// An error event after `after` events of the stream.
        case streamError = "stream_error"
        /// Nothing more after `after` events, with the connection open.
        case stall
        /// The connection is closed after `after` events.
        case cut
        /// No answer at all, with the connection open.
        case silence
    }

    var kind: Kind
    var after = 3
    var status = 500
    /// Anthropic's error type; Chat Completions get one that corresponds.
    var type = "api_error"
    var message = "scripted error of the demo model"
    var retryAfterSeconds: Int?

    private enum CodingKeys: String, CodingKey, CaseIterable {
        case kind, after, status, type, message
        case retryAfterSeconds = "retry_after"
    }

    init(from decoder: any Decoder) throws {
        try decoder.refuseUnknownKeys(CodingKeys.self)
        let fields = try decoder.container(keyedBy: CodingKeys.self)
        kind = try fields.decode(Kind.self, forKey: .kind)
        after = try fields.decodeIfPresent(Int.self, forKey: .after) ?? after
        status = try fields.decodeIfPresent(Int.self, forKey: .status) ?? status
        type = try fields.decodeIfPresent(String.self, forKey: .type) ?? type
        message = try fields.decodeIfPresent(String.self, forKey: .message) ?? message
        retryAfterSeconds = try fields.decodeIfPresent(Int.self, forKey: .retryAfterSeconds)
    }
}

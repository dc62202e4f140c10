/// A picture, document or sound in a conversation.
package struct Media: Sendable, Hashable, Codable {
    package enum Kind: String, Sendable, Codable { case image, document, audio }

    package enum Source: Sendable, Hashable, Codable {
        case base64(String)
        case url(String)
        /// A document that is plain text.
        case text(String)
    }

    package var kind: Kind
    /// E.g. `image/png`; nil for a URL of which nobody said.
    package var type: String?
    package var source: Source
    /// A document's title or a file's name.
    package var name: String?
    /// OpenAI: how closely to look at a picture.
    package var detail: String?

    package init(kind: Kind, type: String?, source: Source, name: String? = nil, detail: String? = nil) {
        self.kind = kind
        self.type = type
        self.source = source
        self.name = name
        self.detail = detail
    }

    /// Taken from a `data:` URL, or from any other URL as it is.
    init(kind: Kind, url: String, name: String? = nil, detail: String? = nil) {
        self.init(kind: kind, type: nil, source: .url(url), name: name, detail: detail)
        guard url.hasPrefix("data:"), let comma = url.firstIndex(of: ",") else { return }
        let head = url[url.index(url.startIndex, offsetBy: 5)..<comma]
        guard head.hasSuffix(";base64") else { return }
        type = String(head.prefix { $0 != ";" })
        source = .base64(String(url[url.index(after: comma)...]))
    }

    /// A URL that holds or names it; nil for text.
    var url: String? {
        switch source {
        case .base64(let data): "data:\(type ?? usualType);base64,\(data)"
        case .url(let url): url
        case .text: nil
        }
    }

    var usualType: String {
        switch kind {
        case .image: "image/png"
        case .document: "application/pdf"
        case .audio: "audio/wav"
        }
    }
}

/// A part of a tool's result.
package enum ResultPart: Sendable, Hashable, Codable {
    case text(String)
    case media(Media)
}

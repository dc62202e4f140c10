import Core
import NIOCore

/// Anthropic's body for Bedrock's `InvokeModel`: the same bytes without `model` and `stream`, which are in the path, and with the
/// version in front. Everything else stays as it came: signatures, cache marks, fields of the future.
package enum BedrockBody {
    package static let version = "bedrock-2023-05-31"

    /// - Parameter betas: the client's `anthropic-beta` header, whose place on Bedrock is in the body; only those that Bedrock takes (`BedrockBetas`).
    /// - Parameter outputLimit: for a body without `max_tokens`, which `InvokeModel` wants; nil: it is left to Bedrock to say so.
    /// - Returns: edits in ascending order, for `BodyEdit.apply(all:to:)`.
    /// - Throws: `badRequest` for a body that is no JSON object, or names the same field twice.
    package static func edits(
        _ body: ByteBuffer, betas: [String] = [], outputLimit: TokenCount? = nil
    ) throws(AppError) -> [BodyEdit] {
        let result: Result<[BodyEdit], AppError> = body.withUnsafeReadableBytes { bytes in
            do throws(AppError) {
                return .success(try edits(bytes, betas, outputLimit))
            } catch {
                return .failure(error)
            }
        }
        return try result.get()
    }

    private static func edits(
        _ bytes: UnsafeRawBufferPointer, _ betas: [String], _ outputLimit: TokenCount?
    ) throws(AppError) -> [BodyEdit] {
        var cursor = JSONCursor(bytes)
        var found: [(name: String, range: Range<Int>)] = []
        var open = 0
        do throws(JSONFailure) {
            var walk = try cursor.enterObject()
            open = cursor.at
            while true {
                _ = cursor.peek()
                let start = cursor.at
                guard let key = try cursor.nextKey(&walk) else { break }
                try cursor.skipValue()
                found.append((key.string(), start..<cursor.at))
            }
            try cursor.expectEnd()
        } catch {
            throw AppError(.badRequest, "The request body is not valid JSON at byte \(error.offset): expected \(error.expected).")
        }
        let names = found.map(\.name)
        if let twice = names.first(where: { name in names.filter { $0 == name }.count > 1 }) {
            throw RequestReader.twice(String(twice.prefix(200)))
        }
        let removed: Set<String> = ["model", "stream", "anthropic_version"]
        let isLeft = found.contains { !removed.contains($0.name) }
        var head = "\"anthropic_version\":\"\(version)\""
        if !betas.isEmpty, !names.contains("anthropic_beta") {
            var list = JSONWriter()
            list.array { for beta in betas { $0.string(beta) } }
            head += ",\"anthropic_beta\":\(list.text)"
        }
        if let outputLimit, !names.contains("max_tokens") { head += ",\"max_tokens\":\(outputLimit)" }
        var edits = [BodyEdit(name: "anthropic_version", range: open..<open, replacement: isLeft ? head + "," : head)]
        // A field goes with one of the commas beside it. A range begins behind the comma before a field, or with it: `nextKey` takes
        // the comma, so the first field's range has none and all others' do.
        var isFirst = true
        for (index, field) in found.enumerated() {
            if !removed.contains(field.name) {
                isFirst = false
                continue
            }
            let end = index + 1 < found.count && isFirst ? found[index + 1].range.lowerBound + 1 : field.range.upperBound
            // Only white space is between the end of a value and the comma that follows it.
            edits.append(
                BodyEdit(name: field.name, range: max(field.range.lowerBound, edits.last!.range.upperBound)..<end, replacement: ""))
        }
        return edits
    }
}

/// What a Claude model takes, from its name: `claude-opus-4-7`, `claude-3-5-sonnet-20241022`, and on Bedrock with a region and a
/// vendor before and a version behind.
struct ClaudeModel: Equatable {
    /// Generation times ten: 45 is 4.5. Names without one are taken for the newest.
    var generation = 1000

    init(_ model: String) {
        var words: [Int?] = []
        for word in model.split(whereSeparator: { "-.:/_@".contains($0) }) {
            // Dates and versions of an API are no generation.
            words.append(word.utf8.count <= 2 && word.utf8.allSatisfy { (0x30...0x39).contains($0) } ? Int(word) : nil)
        }
        let name = model.split(whereSeparator: { "-.:/_@".contains($0) })
        guard let claude = name.firstIndex(where: { $0 == "claude" }) else { return }
        for index in words.indices where index > claude {
            guard let major = words[index] else { continue }
            let next = index + 1 < words.count ? words[index + 1] : nil
            generation = major * 10 + min(next ?? 0, 9)
            return
        }
    }

    var thinks: Bool { generation >= 37 }
    /// Budgets are deprecated at 4.6 and refused from 4.7 on.
    var thinksAdaptively: Bool { generation >= 46 }
    /// Temperature and its kin are refused from 4.7 on.
    var takesSampling: Bool { generation < 47 }
    /// Both together are refused from 4.1 on.
    var takesTemperatureAndTopP: Bool { generation < 41 }
    var takesSchema: Bool { generation >= 41 }
}

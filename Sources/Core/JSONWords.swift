/// JSON's words for what a decoder expects.
package enum JSONWords {
    /// What the type is in JSON; nil for a type that has no word there.
    package static func expected(_ type: any Any.Type) -> String? {
        switch type {
        case is String.Type: return "text"
        case is Bool.Type: return "true or false"
        case is any BinaryInteger.Type: return "a whole number"
        case is any BinaryFloatingPoint.Type: return "a number"
        default:
            let name = "\(type)"
            return name.hasPrefix("Array<") ? "a list" : name.hasPrefix("Dictionary<") ? "an object" : nil
        }
    }

    /// `models[0].price`.
    /// - Parameter name: of a key, as the wire has it.
    package static func place(_ path: [any CodingKey], name: (String) -> String = { $0 }) -> String {
        path.reduce(into: "") { place, key in
            if let index = key.intValue {
                place += "[\(index)]"
            } else {
                place += (place.isEmpty ? "" : ".") + name(key.stringValue)
            }
        }
    }
}

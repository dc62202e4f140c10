extension Detector {
    /// Data by which people are known or paid.
    package static let personal: [Detector] = [email, card, iban, phone]

    private static let email: Detector = {
        let local = ByteSet.base62 + ByteSet(".!#$%&'*+/=?^_`{|}~-")
        let host = ByteSet.base62 + ByteSet("-.")
        return Detector(name: "personal.email", first: .base62 + ByteSet("_"), notAfter: local, longest: 320) { ahead in
            // The longest that mail takes (RFC 5321 §4.5.3.1).
            let name = ahead.run(local, from: 0, limit: 65)
            guard name <= 64, ahead[name] == UInt8(ascii: "@") else { return nil }
            var length = ahead.run(host, from: name + 1, limit: 254)
            // A full stop or hyphen behind it belongs to the sentence.
            while length > 0, !ByteSet.base62.contains(ahead[name + length]) { length -= 1 }
            let labels = ahead.text(name + 1..<name + 1 + length).split(
                separator: UInt8(ascii: "."), omittingEmptySubsequences: false)
            guard labels.count >= 2, labels.allSatisfy({ (1...63).contains($0.count) && $0.first != UInt8(ascii: "-") }),
                let last = labels.last, last.count >= 2, last.allSatisfy({ ByteSet.letters.contains($0) })
            else { return nil }
            return name + 1 + length
        }
    }()

    /// 13 to 19 digits, in groups or not, that begin as an issuer's (ISO/IEC 7812) and whose last one is Luhn's.
    private static let card = Detector(
        name: "personal.card_number", first: ByteSet("23456"), notAfter: .base62 + ByteSet("._-"), longest: 40
    ) { ahead in
        guard let (digits, length) = digits(&ahead, from: 0, most: 19) else { return nil }
        return isIssued(digits) && Luhn.isValid(digits) ? length : nil
    }

    /// Digits with at most one space or hyphen between two; nil when letters or more digits follow.
    private static func digits(_ ahead: inout Lookahead, from start: Int, most: Int) -> (digits: [UInt8], length: Int)? {
        var digits: [UInt8] = []
        var position = start
        while true {
            if ByteSet.digits.contains(ahead[position]) {
                guard digits.count < most else { return nil }
                digits.append(ahead[position] - 48)
                position += 1
            } else if ByteSet(" -").contains(ahead[position]), ByteSet.digits.contains(ahead[position + 1]), !digits.isEmpty {
                position += 1
            } else {
                return ByteSet.letters.contains(ahead[position]) ? nil : (digits, position - start)
            }
        }
    }

    private static func isIssued(_ digits: [UInt8]) -> Bool {
        guard digits.count >= 13 else { return false }
        let (two, four) = (Int(digits[0]) * 10 + Int(digits[1]), digits[0..<4].reduce(0) { $0 * 10 + Int($1) })
        return switch digits[0] {
        case 4: [13, 16, 19].contains(digits.count)
        case 5: (51...55).contains(two) && digits.count == 16
        case 2: (2221...2720).contains(four) && digits.count == 16
        case 3:
            [34, 37].contains(two) && digits.count == 15 || [36, 38, 39].contains(two) && digits.count == 14
                || (3528...3589).contains(four) && digits.count == 16
        case 6: four == 6011 || two == 65 || (644...649).contains(four / 10) || two == 62
        default: false
        }
    }

    /// Country, two check digits, and as much as that country's accounts have; ISO 7064's remainder must be 1 (ISO 13616).
    private static let iban = Detector(
        name: "personal.iban", first: .upper, notAfter: .base62, longest: 48
    ) { ahead in
        guard ByteSet.upper.contains(ahead[1]), ByteSet.digits.contains(ahead[2]), ByteSet.digits.contains(ahead[3]) else {
            return nil
        }
        let country = String(decoding: ahead.text(0..<2), as: UTF8.self)
        guard let wanted = ibanLengths[country] else { return nil }
        var (letters, position): ([UInt8], Int) = ([], 0)
        while letters.count < wanted {
            if (ByteSet.upper + .digits).contains(ahead[position]) {
                letters.append(ahead[position])
            } else if ahead[position] != UInt8(ascii: " ") || letters.count % 4 != 0 || letters.isEmpty {
                return nil
            }
            position += 1
        }
        guard !ByteSet.base62.contains(ahead[position]) else { return nil }
        let remainder = (letters[4...] + letters[..<4]).reduce(0) { remainder, letter in
            letter < 58 ? (remainder * 10 + Int(letter) - 48) % 97 : (remainder * 100 + Int(letter) - 55) % 97
        }
        return remainder == 1 ? position : nil
    }

    private static let ibanLengths: [String: Int] = [
        "AD": 24, "AE": 23, "AL": 28, "AT": 20, "AZ": 28, "BA": 20, "BE": 16, "BG": 22, "BH": 22, "BR": 29, "CH": 21, "CR": 22,
        "CY": 28, "CZ": 24, "DE": 22, "DK": 18, "DO": 28, "EE": 20, "ES": 24, "FI": 18, "FO": 18, "FR": 27, "GB": 22, "GE": 22,
        "GI": 23, "GL": 18, "GR": 27, "GT": 28, "HR": 21, "HU": 28, "IE": 22, "IL": 23, "IS": 26, "IT": 27, "JO": 30, "KW": 30,
        "KZ": 20, "LB": 28, "LI": 21, "LT": 20, "LU": 20, "LV": 21, "MC": 27, "MD": 24, "ME": 22, "MK": 19, "MR": 27, "MT": 31,
        "MU": 30, "NL": 18, "NO": 15, "PK": 24, "PL": 28, "PS": 29, "PT": 25, "QA": 29, "RO": 24, "RS": 22, "SA": 24, "SE": 24,
        "SI": 19, "SK": 24, "SM": 27, "TN": 24, "TR": 26, "UA": 29, "VA": 22, "XK": 20,
    ]

    /// International numbers alone (E.164 with `+`): other forms cannot be told from other numbers.
    private static let phone = Detector(
        name: "personal.phone", first: ByteSet("+"), notAfter: .base62 + ByteSet("+"), longest: 40
    ) { ahead in
        guard ByteSet("123456789").contains(ahead[1]) else { return nil }
        var (count, position, end) = (0, 1, 0)
        while position < 32 {
            let byte = ahead[position]
            if ByteSet.digits.contains(byte) {
                count += 1
                end = position + 1
            } else if !ByteSet(" -./()").contains(byte) || position - end > 1 {
                break
            }
            position += 1
        }
        return (8...15).contains(count) && !ByteSet.letters.contains(ahead[end]) ? end : nil
    }
}

enum Luhn {
    /// The check of ISO/IEC 7812-1 annex B.
    static func isValid(_ digits: [UInt8]) -> Bool {
        let sum = digits.reversed().enumerated().reduce(0) { sum, place in
            let doubled = Int(place.element) * (place.offset % 2 == 1 ? 2 : 1)
            return sum + (doubled > 9 ? doubled - 9 : doubled)
        }
        return sum % 10 == 0
    }
}

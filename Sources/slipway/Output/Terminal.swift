import Foundation

/// What is printed, and whether a person looks at it.
enum Terminal {
    static let isInteractive = isatty(STDOUT_FILENO) == 1 && ProcessInfo.processInfo.environment["TERM"] != "dumb"
    static let hasColours = isInteractive && ProcessInfo.processInfo.environment["NO_COLOR"] == nil

    enum Style: String {
        case bold = "1"
        case dim = "2"
        case red = "31"
        case green = "32"
        case yellow = "33"
        case cyan = "36"
    }

    static func styled(_ text: String, _ style: Style) -> String {
        hasColours ? "\u{1B}[\(style.rawValue)m\(text)\u{1B}[0m" : text
    }

    /// Text from a model, a command or another user: control characters cannot move the cursor, set titles or hide what follows.
    static func plain(_ text: String) -> String {
        var clean = ""
        clean.unicodeScalars.reserveCapacity(text.unicodeScalars.count)
        for scalar in text.unicodeScalars {
            switch scalar.value {
            case 9, 10: clean.unicodeScalars.append(scalar)
            case 0..<32, 127..<160: clean += "\u{FFFD}"
            // Marks that change the direction of what follows.
            case 0x202A...0x202E, 0x2066...0x2069: continue
            default: clean.unicodeScalars.append(scalar)
            }
        }
        return clean
    }

    static func error(_ text: String, prefix: String = "slipway: ") {
        FileHandle.standardError.write(Data("\(prefix)\(plain(text))\n".utf8))
    }

    static func note(_ text: String) { error(text, prefix: "") }

    /// A line that the next one replaces: on a terminal only.
    static func progress(_ text: String) {
        guard isInteractive else { return }
        FileHandle.standardOutput.write(Data("\r\u{1B}[2K\(styled(text, .dim))".utf8))
    }

    static func clearProgress() {
        guard isInteractive else { return }
        FileHandle.standardOutput.write(Data("\r\u{1B}[2K".utf8))
    }

    /// Asks without showing what is typed. Nil when standard input is no terminal.
    static func askSecret(_ question: String) -> String? {
        guard isatty(STDIN_FILENO) == 1 else { return nil }
        var settings = termios()
        tcgetattr(STDIN_FILENO, &settings)
        var silent = settings
        silent.c_lflag &= ~tcflag_t(ECHO)
        tcsetattr(STDIN_FILENO, TCSAFLUSH, &silent)
        defer {
            tcsetattr(STDIN_FILENO, TCSAFLUSH, &settings)
            note("")
        }
        FileHandle.standardError.write(Data(question.utf8))
        return readLine()
    }
}

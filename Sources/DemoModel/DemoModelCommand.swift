import Core
import Foundation
import Logging

/// `slipway-server demo-model [--listen HOST:PORT] [--scenarios FOLDER] [--speed N]`.
package enum DemoModelCommand {
    package static let help = """
        usage: slipway-server demo-model [options]

        Serves a scripted model, not an AI: Anthropic Messages at /v1/messages and OpenAI Chat Completions at /v1/chat/completions.
        What it answers follows from the messages of a request alone; its scripts are the files of config/demo/.

          --listen HOST:PORT   where it listens (\(DemoModelServer.defaultListen)); port 0 takes a free one and prints it
          --scenarios FOLDER   plays the scripts of this folder instead of those that were built in
          --speed N            divides the pauses of the scripts; 0 leaves them out (1)

        """

    private struct Options {
        var listen = DemoModelServer.defaultListen
        var scenarios: String?
        var speed = 1.0
        var isHelp = false

        init(_ arguments: [String]) throws {
            var rest = arguments[...]
            while let argument = rest.popFirst() {
                let parts = argument.split(separator: "=", maxSplits: 1).map(String.init)
                func value() throws -> String {
                    if parts.count == 2 { return parts[1] }
                    guard let next = rest.popFirst() else {
                        throw AppError(.badRequest, "\(argument) needs a value", field: argument)
                    }
                    return next
                }
                switch parts.first {
                case "--help", "-h": isHelp = true
                case "--listen": listen = try value()
                case "--scenarios": scenarios = try value()
                case "--speed":
                    let text = try value()
                    guard let number = Double(text), number >= 0, number.isFinite else {
                        throw AppError(
                            .badRequest, "--speed is \"\(text)\": expected a number from 0 on, such as 1 or 0.5", field: "speed")
                    }
                    speed = number
                default:
                    throw AppError(
                        .badRequest, "unknown option \"\(argument)\": expected --listen, --scenarios, --speed or --help",
                        field: argument)
                }
            }
        }
    }

    /// Runs until SIGTERM or SIGINT.
    ///
    /// - Returns: the exit status: 78 for a wrong option or script, 1 when it could not serve.
    package static func main(arguments: [String]) async -> Int32 {
        func fail(_ error: any Error, _ status: Int32) -> Int32 {
            let message = (error as? AppError)?.message ?? "\(error)"
            FileHandle.standardError.write(Data("slipway-server demo-model: \(message)\n".utf8))
            return status
        }
        do {
            let options = try Options(arguments)
            if options.isHelp {
                print(help, terminator: "")
                return 0
            }
            try await DemoModelServer.runStandalone(
                listen: options.listen, scenarioFolder: options.scenarios, speed: options.speed, logger: Logger(label: "demo-model")
            )
            return 0
        } catch let error as AppError where error.code == .badRequest {
            return fail(error, 78)
        } catch {
            return fail(error, 1)
        }
    }
}

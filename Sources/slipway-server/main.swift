import Core
import Foundation
import Server

let arguments = Array(CommandLine.arguments.dropFirst())
switch arguments.first {
case "--help", "-h", "help":
    print(ConfigurationLoader.help, terminator: "")
    exit(0)
case "--version":
    print("slipway-server \(SlipwayVersion.current)")
    exit(0)
default:
    break
}

let configuration: Configuration
do {
    configuration = try ConfigurationLoader(arguments: arguments, environment: ProcessInfo.processInfo.environment).load()
} catch {
    let message = (error as? AppError)?.message ?? "\(error)"
    FileHandle.standardError.write(Data("slipway-server: \(message)\n".utf8))
    // EX_CONFIG: a supervisor need not try again.
    exit(78)
}
exit(await SlipwayServer.main(configuration))

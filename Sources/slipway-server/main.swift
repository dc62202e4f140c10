// Not called: linking it replaces malloc, and a model call then costs a sixth less CPU (docs/benchmarks.md).
import CAllocator
import Core
import DemoModel
import Foundation
import Logging
import Provisioning
import Server

let arguments = Array(CommandLine.arguments.dropFirst())
switch arguments.first {
case "--help", "-h", "help":
    print(ConfigurationLoader.help, terminator: "")
    exit(0)
case "demo-model":
    exit(await DemoModelCommand.main(arguments: Array(arguments.dropFirst())))
case "keys":
    exit(KeyFileCommand.main(arguments: Array(arguments.dropFirst()), environment: ProcessInfo.processInfo.environment))
case "--version":
    print("slipway-server \(SlipwayVersion.current)")
    exit(0)
case "provisioner":
    // Started by the server with a socket as descriptor 3.
    let logger = Logger(label: "provisioner") { StreamLogHandler.standardError(label: $0) }
    ProvisionerDaemon.run(arguments: Array(arguments.dropFirst()), logger: logger)
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
switch SlipwayServer.prepare(configuration) {
case .ended(let status): exit(status)
case .prepared(let prepared): exit(await SlipwayServer.main(prepared))
}

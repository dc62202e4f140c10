import Glibc
import NIOCore

/// libFuzzer's driver around the codecs of ModelAPI: `fuzz-codecs <target> [libFuzzer's arguments]`. See `scripts/fuzz.sh`.
@main
enum FuzzCodecs {
    static func main() {
        guard let name = CommandLine.arguments.dropFirst().first, let chosen = FuzzTarget(rawValue: name) else {
            let names = FuzzTarget.allCases.map(\.rawValue).joined(separator: "|")
            print("usage: fuzz-codecs \(names) [-max_total_time=SECONDS] [CORPUS SEEDS]")
            exit(64)
        }
        target = chosen
        // The driver gets the arguments without the target's name.
        var argc = CommandLine.argc - 1
        var argv = CommandLine.unsafeArgv + 1
        argv[0] = CommandLine.unsafeArgv[0]
        exit(
            runDriver(&argc, &argv) { start, count in
                FuzzCodecs.target.run(UnsafeRawBufferPointer(start: start, count: count))
                return 0
            })
    }

    /// Set once, before the driver starts; it runs one input at a time.
    private nonisolated(unsafe) static var target = FuzzTarget.sse
}

/// libFuzzer's own entry point for programs that have a main of their own.
@_silgen_name("LLVMFuzzerRunDriver")
private func runDriver(
    _ argc: UnsafeMutablePointer<CInt>, _ argv: UnsafeMutablePointer<UnsafeMutablePointer<UnsafeMutablePointer<CChar>?>>,
    _ callback: @convention(c) (UnsafePointer<UInt8>?, Int) -> CInt
) -> CInt

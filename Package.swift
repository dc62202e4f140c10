// swift-tools-version:6.2
import PackageDescription

let settings: [SwiftSetting] = [
    .enableUpcomingFeature("ExistentialAny"),
    .treatAllWarnings(as: .error),
]

// Coverage for the fuzzer's driver: only for `make fuzz`, which builds into a folder of its own.
// Its value is libFuzzer without a main of its own, which scripts/fuzz.sh finds in the toolchain.
let libFuzzer = Context.environment["SLIPWAY_FUZZ"]
let fuzzed: [SwiftSetting] = libFuzzer == nil ? [] : [.unsafeFlags(["-sanitize=fuzzer"])]

let nio: Target.Dependency = .product(name: "NIOCore", package: "swift-nio")
let nioPosix: Target.Dependency = .product(name: "NIOPosix", package: "swift-nio")
let concurrencyHelpers: Target.Dependency = .product(name: "NIOConcurrencyHelpers", package: "swift-nio")
let nioHTTP2: Target.Dependency = .product(name: "NIOHTTP2", package: "swift-nio-http2")
let log: Target.Dependency = .product(name: "Logging", package: "swift-log")
let crypto: Target.Dependency = .product(name: "Crypto", package: "swift-crypto")
let lifecycle: Target.Dependency = .product(name: "ServiceLifecycle", package: "swift-service-lifecycle")
let argumentParser: Target.Dependency = .product(name: "ArgumentParser", package: "swift-argument-parser")
let unixSignals: Target.Dependency = .product(name: "UnixSignals", package: "swift-service-lifecycle")
let yams: Target.Dependency = .product(name: "Yams", package: "Yams")
let hummingbird: Target.Dependency = .product(name: "Hummingbird", package: "hummingbird")
let embedFiles: Target.PluginUsage = .plugin(name: "EmbedFiles")

let package = Package(
    name: "slipway",
    products: [
        .executable(name: "slipway", targets: ["slipway"]),
        .executable(name: "slipway-server", targets: ["slipway-server"]),
        .executable(name: "slipway-agent", targets: ["slipway-agent"]),
    ],
    dependencies: [
        .package(url: "https://github.com/apple/swift-argument-parser", from: "1.8.2"),
        .package(url: "https://github.com/apple/swift-crypto", from: "4.5.2"),
        .package(url: "https://github.com/apple/swift-log", from: "1.16.2"),
        .package(url: "https://github.com/apple/swift-nio", from: "2.101.2"),
        .package(url: "https://github.com/apple/swift-nio-http2", from: "1.46.0"),
        .package(url: "https://github.com/hummingbird-project/hummingbird", from: "2.28.1", traits: []),
        .package(url: "https://github.com/hummingbird-project/swift-mustache", from: "2.1.1"),
        .package(url: "https://github.com/jpsim/Yams", from: "6.2.2"),
        .package(url: "https://github.com/swift-server/swift-service-lifecycle", from: "2.13.0"),
    ],
    targets: [
        // C
        .systemLibrary(name: "CCurl", pkgConfig: "libcurl", providers: [.apt(["libcurl4-openssl-dev"])]),
        .systemLibrary(name: "CPostgres", pkgConfig: "libpq", providers: [.apt(["libpq-dev"])]),
        .systemLibrary(name: "CZlib", providers: [.apt(["zlib1g-dev"])]),
        .target(name: "CShims"),
        .target(name: "CAgent"),
        .target(name: "CAllocator", linkerSettings: [.linkedLibrary("jemalloc")]),

        // Build tool: files of the repository as Swift string literals
        .executableTarget(name: "embed-files", swiftSettings: settings),
        .plugin(name: "EmbedFiles", capability: .buildTool(), dependencies: ["embed-files"]),

        // Foundations
        .target(name: "Core", dependencies: [crypto, concurrencyHelpers], swiftSettings: settings),
        .target(
            name: "Postgres", dependencies: ["Core", "CPostgres", "CShims", concurrencyHelpers, log, lifecycle, crypto],
            swiftSettings: settings),
        .target(
            name: "HTTPTransport", dependencies: ["Core", "CCurl", nio, concurrencyHelpers, log],
            swiftSettings: settings),
        .target(name: "Telemetry", dependencies: ["Core", concurrencyHelpers, log], swiftSettings: settings),
        .target(name: "AuditProof", dependencies: ["Core", crypto], swiftSettings: settings),
        .target(name: "ModelAPI", dependencies: ["Core", nio, crypto], swiftSettings: settings + fuzzed),
        .target(name: "Policies", dependencies: ["Core", yams], swiftSettings: settings, plugins: [embedFiles]),
        .target(
            name: "AgentProtocol",
            dependencies: [
                nio, nioPosix, nioHTTP2, .product(name: "NIOHPACK", package: "swift-nio-http2"),
            ],
            swiftSettings: settings),
        .target(
            name: "AgentRuntime",
            dependencies: [
                "AgentProtocol", "CAgent", nio, nioPosix, concurrencyHelpers,
                .product(name: "NIOHPACK", package: "swift-nio-http2"),
            ],
            swiftSettings: settings),
        .target(name: "Schema", dependencies: ["Postgres"], swiftSettings: settings, plugins: [embedFiles]),

        // The three siblings, which never import each other, and what workspaces are made by
        .target(
            name: "Gateway",
            dependencies: [
                "AuditProof", "Core", "Postgres", "HTTPTransport", "ModelAPI", "Policies", "Telemetry", "CZlib", nio,
                concurrencyHelpers, log,
                lifecycle,
                crypto,
            ],
            swiftSettings: settings, plugins: [embedFiles]),
        .target(
            name: "AgentLoop",
            dependencies: ["Core", "Postgres", "ModelAPI", "Telemetry", concurrencyHelpers, log, lifecycle, crypto],
            swiftSettings: settings, plugins: [embedFiles]),
        .target(
            name: "Provisioning", dependencies: ["Core", "CShims", concurrencyHelpers, log],
            swiftSettings: settings),
        .target(
            name: "Workspaces",
            dependencies: [
                "Core", "Postgres", "AgentProtocol", "Provisioning", nio, nioPosix, concurrencyHelpers, log, lifecycle, crypto,
                .product(name: "NIOHPACK", package: "swift-nio-http2"),
            ],
            swiftSettings: settings),

        // The server and its clients
        .target(name: "API", dependencies: [], swiftSettings: settings),
        .target(
            name: "DemoModel",
            dependencies: ["Core", hummingbird, nio, log, lifecycle, crypto, yams],
            swiftSettings: settings, plugins: [embedFiles]),
        .target(
            name: "Server",
            dependencies: [
                "API", "AuditProof", "CShims", "Core", "Postgres", "Schema", "Gateway", "AgentLoop", "Workspaces", "Provisioning",
                "DemoModel",
                "AgentProtocol",
                "ModelAPI", "Policies", "HTTPTransport", "Telemetry",
                hummingbird, .product(name: "HummingbirdTLS", package: "hummingbird"),
                .product(name: "Mustache", package: "swift-mustache"),
                .product(name: "CryptoExtras", package: "swift-crypto"),
                nio, nioPosix, concurrencyHelpers, log, lifecycle, crypto, yams, unixSignals,
            ],
            swiftSettings: settings, plugins: [embedFiles]),

        .executableTarget(
            name: "slipway",
            dependencies: [
                "API", "AuditProof", "Core", "HTTPTransport", "Policies", argumentParser, log, nio,
                .product(name: "NIOFoundationCompat", package: "swift-nio"),
            ],
            swiftSettings: settings),
        .executableTarget(
            name: "slipway-server", dependencies: ["CAllocator", "Core", "Server", "DemoModel", "Provisioning", log],
            swiftSettings: settings),
        .executableTarget(
            name: "slipway-agent",
            dependencies: ["AgentRuntime", nio, nioPosix], swiftSettings: settings),

        // Tests
        .target(
            name: "TestSupport", dependencies: ["Core", "Postgres", "Schema", nio, nioPosix, concurrencyHelpers, log, crypto],
            path: "Tests/TestSupport", swiftSettings: settings),
        .testTarget(name: "CoreTests", dependencies: ["Core"], swiftSettings: settings),
        .testTarget(name: "PostgresTests", dependencies: ["Postgres", "Schema", "TestSupport"], swiftSettings: settings),
        .testTarget(
            name: "HTTPTransportTests",
            dependencies: [
                "Core", "HTTPTransport", "TestSupport", nio, concurrencyHelpers, log, hummingbird,
                .product(name: "HummingbirdHTTP2", package: "hummingbird"),
            ],
            swiftSettings: settings),
        .testTarget(
            name: "TelemetryTests",
            dependencies: ["Core", "Telemetry", "HTTPTransport", "TestSupport", nio, concurrencyHelpers, log],
            swiftSettings: settings),
        .testTarget(name: "ModelAPITests", dependencies: ["ModelAPI"], swiftSettings: settings),
        .testTarget(name: "PoliciesTests", dependencies: ["Policies", "Core"], swiftSettings: settings),
        .testTarget(
            name: "DemoModelTests", dependencies: ["Core", "DemoModel", "HTTPTransport", "ModelAPI", nio, log],
            swiftSettings: settings),
        .testTarget(
            name: "GatewayTests",
            dependencies: ["AuditProof", "Gateway", "Policies", "Telemetry", "TestSupport", nio, concurrencyHelpers],
            swiftSettings: settings),
        .testTarget(
            name: "AgentLoopTests",
            dependencies: ["AgentLoop", "ModelAPI", "Postgres", "Telemetry", "TestSupport", concurrencyHelpers, log],
            swiftSettings: settings),
        .testTarget(
            name: "ProvisioningTests", dependencies: ["Provisioning", "TestSupport"], exclude: ["Resources"],
            swiftSettings: settings),
        .testTarget(
            name: "WorkspacesTests",
            dependencies: [
                "Workspaces", "Provisioning", "AgentProtocol", "AgentRuntime", "CAgent", "TestSupport", "slipway-agent", nio,
                nioPosix, log,
            ], swiftSettings: settings),
        .testTarget(
            name: "ServerTests",
            dependencies: ["Server", "slipway-server", "API", "Gateway", "HTTPTransport", "TestSupport", nio, concurrencyHelpers],
            swiftSettings: settings),
        .testTarget(
            name: "DocsTests", dependencies: ["Server", "Policies", "slipway", "slipway-server", "API", "Core", "TestSupport"],
            swiftSettings: settings),
    ],
    swiftLanguageModes: [.v6]
)

if let libFuzzer {
    package.targets.append(
        .executableTarget(
            name: "fuzz-codecs", dependencies: ["Core", "ModelAPI", nio], path: "Fuzz", exclude: ["Seeds"],
            swiftSettings: settings + fuzzed, linkerSettings: [.unsafeFlags(["-Xlinker", libFuzzer, "-lstdc++"])]))
}

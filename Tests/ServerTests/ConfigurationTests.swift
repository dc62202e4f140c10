import Core
import Foundation
import Testing

@testable import Server

@Suite struct ConfigurationTests {
    private func load(
        _ arguments: [String] = [], _ environment: [String: String] = [:], yaml: String? = nil
    ) throws -> Configuration {
        try ConfigurationLoader(
            arguments: arguments + (yaml == nil ? [] : ["--config", "/etc/slipway.yaml"]), environment: environment,
            readFile: { _ in yaml ?? "" }
        ).load()
    }

    private func refusal(_ arguments: [String] = [], _ environment: [String: String] = [:], yaml: String? = nil) -> AppError? {
        do {
            _ = try load(arguments, environment, yaml: yaml)
            return nil
        } catch { return error as? AppError }
    }

    @Test func `flags win over variables and variables over the file`() throws {
        let yaml = "listen: 127.0.0.1:1\ndata-dir: /file\nlog-format: json\n"
        let all = try load(
            ["--listen", "127.0.0.1:3"], ["SLIPWAY_LISTEN": "127.0.0.1:2", "SLIPWAY_DATA_DIR": "/variable"], yaml: yaml)
        #expect(all.listen.port == 3)
        #expect(all.dataDirectory == "/variable")
        #expect(all.logFormat == .json)
    }

    @Test(arguments: [("lisen", "listen"), ("data-dirr", "data-dir"), ("postgresurl", "postgres-url")])
    func `an unknown key is refused in all three places with the nearest name`(wrong: String, right: String) {
        let flag = refusal(["--\(wrong)", "x"])
        #expect(flag?.message.contains("--\(wrong)") == true && flag?.message.contains("--\(right)?") == true)
        let variable = "SLIPWAY_" + wrong.uppercased().replacing("-", with: "_")
        let environment = refusal([], [variable: "x"])
        #expect(environment?.message.contains(variable) == true)
        #expect(environment?.message.contains("SLIPWAY_" + right.uppercased().replacing("-", with: "_") + "?") == true)
        let file = refusal(yaml: "log-level: info\n\(wrong): x\n")
        #expect(file?.message.contains("\(wrong) (line 2 of /etc/slipway.yaml)") == true)
    }

    @Test func `the client's variables are left alone`() throws {
        _ = try load([], ["SLIPWAY_URL": "http://x", "SLIPWAY_TOKEN": "t", "SLIPWAY_CONFIG_DIR": "/c"])
    }

    @Test(arguments: [
        ("listen", "7080"), ("listen", "::1:7080"), ("listen", "h:99999"), ("grace", "5"), ("grace", "21s"), ("log-format", "xml"),
        ("access-url", "ftp://x"), ("access-url", "https://x/path"), ("trusted-proxies", "10.0.0.0/33"),
        ("postgres-connections", "1"),
    ])
    func `a value that cannot be is refused with what is expected`(name: String, value: String) {
        let error = refusal(["--\(name)", value])
        #expect(error?.field == name)
        #expect(error?.message.contains("--\(name) is '\(value)'; it must be ") == true)
    }

    @Test func `keys on the command line are refused and never shown`() {
        let error = refusal(["--keys", "k1 00"])
        #expect(error?.message.contains("SLIPWAY_KEYS") == true)
        #expect(error?.message.contains("k1 00") == false)
    }

    @Test func `a certificate without its key is refused`() {
        #expect(refusal(["--tls-cert", "c.pem"])?.field == "tls-key")
        #expect(refusal(["--tls-key", "k.pem"])?.field == "tls-cert")
    }

    @Test func `a flag without its value is refused`() {
        #expect(refusal(["--listen"])?.message == "--listen needs a value.")
        #expect(refusal(["listen"])?.field == "listen")
    }

    @Test func `address ranges hold what they say`() throws {
        let ten = try #require(AddressRange("10.1.0.0/12"))
        #expect(ten.contains("10.15.255.255"))
        #expect(!ten.contains("10.16.0.0"))
        #expect(ten.contains("::ffff:10.2.3.4"))
        #expect(!ten.contains("fe80::1"))
        #expect(try #require(AddressRange("::1")).contains("::1"))
    }

    @Test func `only loopback listens without a warning`() throws {
        #expect(try !load(["--listen", "[::1]:80"]).isExposedWithoutTLS)
        #expect(try load(["--listen", ":80"]).isExposedWithoutTLS)
        #expect(try !load(["--listen", ":80", "--tls-cert", "c", "--tls-key", "k"]).isExposedWithoutTLS)
    }
}

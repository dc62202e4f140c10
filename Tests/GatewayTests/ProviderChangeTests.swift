import Core
import Foundation
import TestSupport
import Testing

@testable import Gateway

/// Providers that admins change: what one does not mention stays as another one has it.
@Suite struct ProviderChangeTests {
    private static func with(_ body: (Stage, Gateway) async throws -> Void) async throws {
        try await Stage.with { stage in
            try await stage.gateway { gateway in
                _ = try await gateway.providers.create(
                    stage.user, name: "ours", type: .anthropic,
                    .init(baseURL: "https://models.example.com", keys: [Secret("sk-of-the-first-host-0815")]))
                try await body(stage, gateway)
            }
        }
    }

    @Test func `what stands beside providers in the API is no name for one`() async throws {
        try await Self.with { stage, gateway in
            for name in ["auto", "interceptions", "sessions", "usage", "spend"] {
                let error = await #expect(throws: AppError.self) {
                    try await gateway.providers.create(
                        stage.user, name: name, type: .anthropic, .init(baseURL: "https://models.example.com"))
                }
                #expect(
                    error?.code == .badRequest && error?.field == "name" && error?.message.contains("'\(name)' is taken") == true)
            }
        }
    }

    @Test func `a price is set for a provider that is there, and of a type that counts for it`() async throws {
        try await Self.with { stage, gateway in
            func set(_ type: ProviderType, _ name: String) async throws {
                try await gateway.prices.set(stage.user, .init(type: type, providerName: name, model: "m", prices: Stage.price))
            }
            let unknown = await #expect(throws: AppError.self) { try await set(.anthropic, "nope") }
            #expect(unknown?.code == .notFound && unknown?.field == "provider")
            let other = await #expect(throws: AppError.self) { try await set(.openai, "ours") }
            #expect(other?.code == .badRequest && other?.field == "type", "\(other?.message ?? "")")
            #expect(other?.message.contains("'ours' is of type anthropic") == true)
            try await set(.anthropic, "ours")
        }
    }

    @Test func `a change is made to what is stored, and not to what this process remembers`() async throws {
        try await Self.with { stage, gateway in
            // Another process has just switched it off.
            try await stage.pool.execute("UPDATE ai_providers SET enabled = false WHERE name = 'ours'")
            let changed = try await gateway.providers.update(stage.user, name: "ours", .init(displayName: "Ours"))
            #expect(!changed.isEnabled && changed.displayName == "Ours" && changed.keys.count == 1)
            #expect(try await stage.count("ai_providers", "NOT enabled AND display_name = 'Ours'") == 1)
        }
    }

    @Test(arguments: [
        "https://evil.example.com", "http://models.example.com", "https://models.example.com:8443", "replay://anthropic",
    ])
    func `a key does not follow the URL to another host`(url: String) async throws {
        try await Self.with { stage, gateway in
            let error = await #expect(throws: AppError.self) {
                try await gateway.providers.update(
                    stage.user, name: "ours", .init(baseURL: url, allowsPrivateAddresses: true))
            }
            #expect(error?.code == .badRequest && error?.field == "keys")
            #expect(error?.message.contains("send the keys again with a new host") == true)
            let unchanged = try await stage.count("ai_providers", "base_url = 'https://models.example.com'")
            #expect(unchanged == 1)
        }
    }

    @Test func `with its keys, or to another path, it moves`() async throws {
        try await Self.with { stage, gateway in
            let path = "https://models.example.com/eu"
            #expect(try await gateway.providers.update(stage.user, name: "ours", .init(baseURL: path)).keys.count == 1)
            let moved = try await gateway.providers.update(
                stage.user, name: "ours", .init(baseURL: "https://other.example.com", keys: [Secret("sk-of-the-second-host-0816")]))
            #expect(moved.baseURL == "https://other.example.com" && moved.keys.map(\.hint).count == 1)
            _ = try await gateway.providers.update(stage.user, name: "ours", .init(keys: []))
            _ = try await gateway.providers.update(stage.user, name: "ours", .init(baseURL: "https://third.example.com"))
        }
    }
}

import API
import Core
import Foundation
import Postgres
import TestSupport
import Testing

@testable import Server

/// That reading what others said is on record, and how long it is kept.
@Suite struct ContentReadTests {
    private struct Scene {
        var server: ServerProcess
        var member: Client
        var auditor: Client
        var admin: Client
        var call: String
        var pool: PostgresPool
    }

    private func scene(_ body: (Scene) async throws -> Void) async throws {
        try await TestDatabase.with { database in
            let pool = database.pool()
            let server = try await ServerProcess.start(database: database.url, arguments: ["--demo-model"])
            let admin = Client(server, token: try await People.token(pool, "ann", roles: [.admin]))
            let member = Client(server, token: try await People.token(pool, "mia", roles: [.member]))
            _ = try await admin.post(
                APIPaths.modelPolicies, CreateModelPolicyRequest(name: "all", models: ["*"], roles: nil, users: nil))
            let answer = try await member.with("content-type", "application/json").send(
                "POST", "/api/v2/ai-gateway/demo/v1/messages",
                Data(#"{"model":"demo-scripted","max_tokens":100,"messages":[{"role":"user","content":"demo: hello"}]}"#.utf8))
            #expect(answer.status == 200, "\(answer.text)")
            let call = try #require(answer.header("x-slipway-interception-id"))
            try await eventually {
                try await member.get("\(APIPaths.interceptions)/\(call)").json(Interception.self).content == "complete"
            }
            let auditor = Client(server, token: try await People.token(pool, "otto", roles: [.auditor]))
            try await body(Scene(server: server, member: member, auditor: auditor, admin: admin, call: call, pool: pool))
            await pool.close()
            await server.stop()
        }
    }

    private func reads(_ scene: Scene, _ kind: String) async throws -> [AuditFact] {
        try await scene.auditor.get("\(APIPaths.audit)/facts?kind=\(kind)").json(AuditFactList.self).facts
    }

    @Test func `who reads another's content is on record with the request, and one's own is nobody's business`() async throws {
        try await scene { scene in
            #expect(try await reads(scene, "content").isEmpty)
            let read = try await scene.auditor.get("\(APIPaths.interceptions)/\(scene.call)")
            #expect(try read.json(Interception.self).prompt == "demo: hello")
            let fact = try #require(try await reads(scene, "content.read").first)
            #expect(fact.actor == "otto" && fact.subject == scene.call && fact.details["initiator"] == "mia")
            #expect(fact.details["request_id"] == read.header("x-request-id"))
            let listed = try await scene.admin.get(APIPaths.interceptions)
            #expect(try listed.json(InterceptionList.self).interceptions.count == 1)
            let list = try #require(try await reads(scene, "content.list").first)
            #expect(list.actor == "ann" && list.details["calls"] == scene.call)
            #expect(list.details["request_id"] == listed.header("x-request-id"))
            let verified = try await scene.auditor.send("POST", APIPaths.audit + "/verify").json(AuditVerification.self)
            #expect(verified.ok, "\(verified.problems)")
        }
    }

    @Test func `request and answer are read as they passed, and who reads another's is on record`() async throws {
        try await scene { scene in
            let path = "\(APIPaths.interceptions)/\(scene.call)/content/"
            let request = try await scene.auditor.get(path + "request")
            #expect(
                request.text == #"{"model":"demo-scripted","max_tokens":100,"messages":[{"role":"user","content":"demo: hello"}]}"#)
            #expect(request.header("content-type") == "application/octet-stream")
            #expect(request.header("x-slipway-content-type") == "application/json")
            #expect(request.header("x-slipway-content-complete") == "true")
            let fact = try #require(try await reads(scene, "content.read").first)
            #expect(fact.actor == "otto" && fact.details["request_id"] == request.header("x-request-id"))
            #expect(try await scene.member.get(path + "answer").text.contains(#""type":"message""#))
            #expect(try await reads(scene, "content.read").count == 1)
            let odd = try await scene.member.get(path + "thoughts")
            #expect(odd.status == 400 && odd.text.contains("request or answer"))
            let stranger = Client(scene.server, token: try await People.token(scene.pool, "eve", roles: [.member]))
            #expect(try await stranger.get(path + "request").status == 404)
            // What is not kept is told with its reason.
            try await scene.pool.execute("UPDATE ai_interceptions SET content_mode = 'hashed'")
            try await scene.pool.execute("DELETE FROM ai_contents")
            let gone = try await scene.member.get(path + "request")
            #expect(gone.status == 404 && gone.text.contains("not kept but for its hash"))
        }
    }

    @Test func `rules and holds are set by those who may, and what they set is shown`() async throws {
        try await scene { scene in
            let rules = APIPaths.audit + "/rules"
            func put(_ client: Client, _ path: String, _ body: some Encodable) async throws -> Client.Answer {
                try await client.send("PUT", path, try APICoding.encoder().encode(body))
            }
            #expect(try await scene.auditor.get(rules).json(AuditRules.self) == AuditRules(contentMode: "full"))
            #expect(try await put(scene.auditor, rules + "/retention", SetRetentionRequest(contentDays: 1)).status == 403)
            #expect(
                try await put(scene.admin, rules + "/retention", SetRetentionRequest(contentDays: 0)).error?.message.contains(
                    "1 to 36500") == true)
            #expect(
                try await put(scene.admin, rules + "/retention", SetRetentionRequest(contentDays: 9, recordDays: 8)).status == 400)
            #expect(try await put(scene.admin, rules + "/content-mode", SetContentModeRequest(contentMode: "some")).status == 400)
            _ = try await put(scene.admin, rules + "/content-mode", SetContentModeRequest(contentMode: "hashed"))
            let set = try await put(scene.admin, rules + "/retention", SetRetentionRequest(contentDays: 30, recordDays: 400))
            #expect(try set.json(AuditRules.self) == AuditRules(contentMode: "hashed", contentDays: 30, recordDays: 400))
            let hold = try await scene.auditor.post(
                APIPaths.audit + "/holds", AddAuditHoldRequest(kind: "user", subject: "mia", reason: "case 7")
            ).json(AuditHold.self)
            #expect(hold.name == "mia" && hold.kind == "user")
            let session = try await scene.member.get("\(APIPaths.interceptions)/\(scene.call)").json(Interception.self).sessionID
            for (kind, subject, status) in [
                ("session", session, 201), ("session", "nosuch", 404), ("task", UUID().uuidString, 404), ("user", "nobody", 404),
            ] {
                let answer = try await scene.auditor.post(
                    APIPaths.audit + "/holds", AddAuditHoldRequest(kind: kind, subject: subject, reason: "case 8"))
                #expect(answer.status == status || (status == 201 && answer.status == 200), "\(subject): \(answer.text)")
                if let made = try? answer.json(AuditHold.self) {
                    #expect(try await scene.auditor.send("DELETE", "\(APIPaths.audit)/holds/\(made.id)").status == 204)
                }
            }
            #expect(try await scene.member.get(APIPaths.audit + "/holds").status == 403)
            #expect(try await scene.admin.get(APIPaths.audit + "/holds").json(AuditHoldList.self).holds.map(\.id) == [hold.id])
            #expect(try await scene.auditor.send("DELETE", "\(APIPaths.audit)/holds/\(hold.id)").status == 204)
            #expect(try await scene.auditor.send("DELETE", "\(APIPaths.audit)/holds/\(hold.id)").status == 404)
            let kinds = try await reads(scene, "audit").map(\.kind)
            #expect(
                kinds.sorted() == [
                    "audit.content-mode", "audit.hold", "audit.hold", "audit.release", "audit.release", "audit.retention",
                ])
            let none = try await scene.auditor.post(APIPaths.audit + "/verify", VerifyAuditRequest(anchor: []))
            #expect(none.status == 400 && none.error?.message.contains("holds no checkpoints") == true, "\(none.text)")
        }
    }
}

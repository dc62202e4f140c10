import Core
import Foundation
import ModelAPI
import TestSupport
import Testing

@testable import Gateway

@Suite struct InvoiceTests {
    private func invoice(_ text: String) throws -> InvoiceFile { try InvoiceFile(Data(text.utf8)) }

    @Test func `quotes, line ends, tabs and a byte-order mark are read as people's programs write them`() throws {
        let csv = try CSV(Data("\u{FEFF}a,\"b \"\"c\"\"\",d\r\n1,\"two,\r\nthree\",\r\n\r\n4,5,6".utf8))
        #expect(csv.header == ["a", "b \"c\"", "d"])
        #expect(csv.rows.map(\.fields) == [["1", "two,\r\nthree", ""], ["4", "5", "6"]])
        #expect(csv.rows.map(\.line) == [2, 5])
        #expect(try CSV(Data("a\tb\n1\t2\n".utf8)).rows[0].fields == ["1", "2"])
        for bad in ["a,b\n1", "a\n\"x", ""] { #expect(throws: AppError.self) { _ = try CSV(Data(bad.utf8)) } }
    }

    @Test func `exports of Anthropic and OpenAI are read by the names of their columns`() throws {
        let anthropic = try invoice(
            """
            usage_date_utc,model,workspace,token_type,cost_usd
            2026-11-20,Claude Sonnet 4.5,Default,input,1.25
            2026-11-20,Claude Sonnet 4.5,Default,output,0.000000001
            2026-11-20,,Default,web search,0.10
            """)
        #expect(anthropic.rows.map(\.cost) == [NanoDollars(1_250_000_000), NanoDollars(1)] && anthropic.hasCost)
        // Fees have no model: they are told, not compared.
        #expect(anthropic.rest == .init(rows: 1, cost: NanoDollars(100_000_000)))
        let compared = Reconciliation(provider: "p", anthropic, [])
        #expect(compared.withoutModel == (1, NanoDollars(100_000_000)) && compared.invoiced == NanoDollars(1_250_000_001))
        #expect(try invoice("day,model,cost\n2026-11-20,m,1\n,,\n,,$3\n").rest == .init(rows: 1, cost: NanoDollars(3_000_000_000)))
        let usage = try invoice(
            """
            usage_date_utc,model_version,usage_input_tokens_no_cache,usage_input_tokens_cache_write_5m,usage_input_tokens_cache_read,usage_output_tokens
            2026-11-20,claude-sonnet-4-5-20250929,100,20,3000,50
            """)
        #expect(
            usage.rows == [
                .init(day: "2026-11-20", model: "claude-sonnet-4-5-20250929", cost: nil, inputTokens: 3120, outputTokens: 50)
            ])
        let openai = try invoice(
            """
            start_time,end_time,start_time_iso,amount_value,amount_currency,line_item
            1795132800,1795219200,2026-11-20T00:00:00+00:00,0.0123456789,usd,"gpt-5-2025-08-07, input"
            """)
        #expect(
            openai.rows == [
                .init(
                    day: "2026-11-20", model: "gpt-5-2025-08-07, input", cost: NanoDollars(12_345_679), inputTokens: nil,
                    outputTokens: nil)
            ])
        #expect(try invoice("Start Time,Model,Cost (USD)\n1795132800,m,$1.50").rows[0].day == "2026-11-20")
    }

    @Test func `a header that is missing is named with what it may be called, a wrong field with its line`() {
        for (text, part) in [
            ("model,cost\nm,1", "column for the day: expected one named date, day"),
            ("date,cost\n2026-11-20,1", "column for the model"),
            ("date,model,foo\n2026-11-20,m,1", "column for the cost, and none for tokens"),
            ("date,model,cost\n20.11.2026,m,1", "Line 2: '20.11.2026' under date is no day"),
            ("date,model,cost\n2026-11-20,m,much", "Line 2: 'much' under cost is no amount of dollars"),
            ("date,model,cost,currency\n2026-11-20,m,1,EUR", "Line 2 is in EUR"),
            ("date,model,input tokens\n2026-11-20,m,-1", "is no number of tokens"),
            (
                "date,model,uncached_input_tokens,cache_read_input_tokens,output tokens\n2026-11-20,m,9223372036854775807,9223372036854775807,1",
                "Line 2: '9223372036854775807' under uncached_input_tokens is no number of tokens from 0 to 1000000000000"
            ),
            ("date,model,output tokens\n2026-11-20,m,1\n2026-11-20,m,1e13", "Line 3: '1e13'"),
            (
                "date,model,cost\n" + String(repeating: "2026-11-20,m,1000000000\n", count: 11),
                "Line 6: with it the costs of the file are more than can be added up"
            ),
            (
                "date,model,cost\n" + String(repeating: "2026-11-20,m,-1000000000\n", count: 11), "Line 6: with it the costs"
            ),
        ] {
            let error = #expect(throws: AppError.self, "\(text)") { _ = try invoice(text) }
            #expect(error?.message.contains(part) == true, "\(error?.message ?? "")")
        }
    }

    @Test func `drift is by day and model, however they are named`() throws {
        let file = try invoice(
            """
            date,model,cost
            2026-11-20,Claude Sonnet 4.5,1.00
            2026-11-20,claude-sonnet-4-5-20250929,0.50
            2026-11-21,"gpt-5-2025-08-07, input",0.10
            2026-11-21,unknown,0.01
            """)
        let found = Reconciliation(
            provider: "p", file,
            [
                .init(
                    day: "2026-11-20", model: "claude-sonnet-4-5", cost: NanoDollars(1_400_000_000), tokens: 10, calls: 4,
                    estimated: 1),
                .init(day: "2026-11-21", model: "gpt-5", cost: NanoDollars(100_000_000), tokens: 5, calls: 1, estimated: 0),
                .init(day: "2026-11-22", model: "gpt-5", cost: NanoDollars(1), tokens: 1, calls: 1, estimated: 0),
            ])
        #expect(
            found.lines.map { "\($0.day) \($0.model) \($0.drift?.value ?? -1) \($0.calls) \($0.estimated)" } == [
                "2026-11-20 claude-sonnet-4-5 100000000 4 1", "2026-11-21 gpt-5 0 1 0", "2026-11-21 unknown 10000000 0 0",
                "2026-11-22 gpt-5 -1 1 0",
            ])
        #expect(found.invoiced == NanoDollars(1_610_000_000) && found.booked == NanoDollars(1_500_000_001))
    }

    @Test func `an invoice is laid beside the ledger of its provider and days, and nothing is written`() async throws {
        try await Stage.with { stage in
            try await stage.gateway { gateway in
                for _ in 0..<2 { _ = await gateway.call(stage.call(Stage.messages())).text() }
                _ = await gateway.call(stage.call(Stage.chat(), provider: "openai")).text()
                try await eventually { try await stage.count("ai_ledger") == 3 }
                let today = try await stage.pool.query("SELECT to_char(now() AT TIME ZONE 'UTC', 'YYYY-MM-DD') AS day")[0][
                    "day", as: String.self]
                let found = try await gateway.invoices.reconcile(
                    stage.user, provider: "anthropic",
                    Data("date,model,cost,input_tokens,output_tokens\n\(today),\(Stage.model),0.0002,20,10\n".utf8))
                #expect(found.lines.count == 1)
                #expect(found.lines[0].drift == NanoDollars(200_000 - 120_000) && found.lines[0].calls == 2)
                #expect(found.lines[0].invoicedTokens == 30 && found.lines[0].bookedTokens == 30)
                let unknown = await #expect(throws: AppError.self) {
                    _ = try await gateway.invoices.reconcile(
                        stage.user, provider: "nobody", Data("date,model,cost\n\(today),m,1\n".utf8))
                }
                #expect(unknown?.code == .notFound)
                try await stage.expectSound(gateway)
            }
        }
    }
}

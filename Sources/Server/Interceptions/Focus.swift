import API
import Foundation

/// Spend in the columns of the FinOps Open Cost and Usage Specification 1.0, in the order of the alphabet. Columns that have no meaning
/// for model calls (commitments, zones) are there and empty.
enum Focus {
    static let columns = [
        "AvailabilityZone", "BilledCost", "BillingAccountId", "BillingAccountName", "BillingCurrency", "BillingPeriodEnd",
        "BillingPeriodStart", "ChargeCategory", "ChargeClass", "ChargeDescription", "ChargeFrequency", "ChargePeriodEnd",
        "ChargePeriodStart", "CommitmentDiscountCategory", "CommitmentDiscountId", "CommitmentDiscountName",
        "CommitmentDiscountStatus", "CommitmentDiscountType", "ConsumedQuantity", "ConsumedUnit", "ContractedCost",
        "ContractedUnitPrice", "EffectiveCost", "InvoiceIssuerName", "ListCost", "ListUnitPrice", "PricingCategory",
        "PricingQuantity", "PricingUnit", "ProviderName", "PublisherName", "RegionId", "RegionName", "ResourceId", "ResourceName",
        "ResourceType", "ServiceCategory", "ServiceName", "SkuId", "SkuPriceId", "SubAccountId", "SubAccountName", "Tags",
    ]

    static func text(_ rows: [SpendRow], organization: String) -> String {
        var csv = CSV(columns)
        for row in rows { csv.add(line(row, organization)) }
        return csv.text
    }

    private static func line(_ row: SpendRow, _ organization: String) -> [String?] {
        let cost = CSV.dollars(row.costNanoDollars)
        let tokens =
            "\(row.usage.inputTokens + row.usage.cacheReadInputTokens + row.usage.cacheWriteInputTokens + row.usage.outputTokens)"
        let day = row.day ?? ""
        let (month, nextMonth) = period(of: day)
        let name = "\(row.provider ?? "")/\(row.model ?? "")"
        let cells: [String: String?] = [
            "BilledCost": cost, "BillingAccountId": organization, "BillingAccountName": "Slipway", "BillingCurrency": "USD",
            "BillingPeriodStart": month, "BillingPeriodEnd": nextMonth, "ChargeCategory": "Usage",
            "ChargeDescription": "\(row.calls) calls of \(name)", "ChargeFrequency": "Usage-Based",
            "ChargePeriodStart": day + "T00:00:00Z", "ChargePeriodEnd": following(day), "ConsumedQuantity": tokens,
            "ConsumedUnit": "Tokens", "ContractedCost": cost, "EffectiveCost": cost, "InvoiceIssuerName": row.provider,
            "ListCost": cost, "PricingCategory": "Standard", "PricingQuantity": tokens, "PricingUnit": "Tokens",
            "ProviderName": row.provider, "PublisherName": row.provider, "ResourceId": name, "ResourceName": row.model,
            "ResourceType": "Model", "ServiceCategory": "AI and Machine Learning", "ServiceName": "Model calls", "SkuId": name,
            "SubAccountId": row.userID, "SubAccountName": row.username, "Tags": tags(row),
        ]
        return columns.map { cells[$0] ?? nil }
    }

    private static func tags(_ row: SpendRow) -> String {
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
        let tags = ["client": row.client, "task": row.taskID].compactMapValues(\.self)
        return (try? encoder.encode(tags)).map { String(decoding: $0, as: UTF8.self) } ?? "{}"
    }

    /// The first instants of the day's month and of the one after it.
    private static func period(of day: String) -> (String, String) {
        let parts = day.split(separator: "-").compactMap { Int($0) }
        guard parts.count == 3 else { return ("", "") }
        let (year, month) = parts[1] == 12 ? (parts[0] + 1, 1) : (parts[0], parts[1] + 1)
        return (day.prefix(7) + "-01T00:00:00Z", "\(year)-\(month < 10 ? "0" : "")\(month)-01T00:00:00Z")
    }

    private static func following(_ day: String) -> String {
        guard let start = try? Date(day + "T00:00:00Z", strategy: .iso8601) else { return "" }
        return start.addingTimeInterval(86_400).formatted(.iso8601)
    }
}

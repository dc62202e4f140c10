extension Interception {
    /// Where the ledger says that it went, if that is not where it asked to go: `fake/chatty`.
    public var answeredBy: String? {
        guard let row = ledger?.last, row.provider != providerName || row.model != model else { return nil }
        return row.place
    }
}

extension LedgerRow {
    /// `fake/chatty`; nil where the record does not say.
    public var place: String? { provider.flatMap { provider in model.map { "\(provider)/\($0)" } } }
}

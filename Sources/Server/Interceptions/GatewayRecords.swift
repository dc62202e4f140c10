import Gateway

// The gateway's values that share a name with the API's: a file that imports both says which it means by these.
typealias RecordedCall = Interception
typealias RecordedSession = AISession
typealias BookedAttempt = LedgerRow
typealias StoredModelPolicy = ModelPolicy
typealias StoredSink = AuditSink

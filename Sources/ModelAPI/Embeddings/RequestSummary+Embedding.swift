import Core

extension RequestSummary {
    /// What the gateway knows of a request for embeddings: it has no output.
    package init(_ embedding: EmbeddingSummary) {
        self.init()
        model = embedding.model
        modelValue = embedding.modelValue
        maxOutputTokens = 0
        embeddings = embedding.inputs
        refersToStoredInput = embedding.refersToStoredInput
        holdsTokens = embedding.holdsTokens
    }
}

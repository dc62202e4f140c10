package enum SlipwayVersion {
    package static let current = "0.1.0"
}

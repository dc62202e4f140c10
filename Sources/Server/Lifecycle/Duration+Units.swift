extension Duration {
    /// Rounded down.
    package var milliseconds: Int { Int(components.seconds * 1000 + components.attoseconds / 1_000_000_000_000_000) }
    package var inSeconds: Double { Double(components.seconds) + Double(components.attoseconds) / 1e18 }
}

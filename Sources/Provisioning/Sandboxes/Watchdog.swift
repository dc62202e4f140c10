/// The rule for what no kernel limit holds back: which sandboxes have to be stopped, and why.
struct Watchdog {
    /// Bytes in words: `1.5 GiB`.
    static func words(_ bytes: UInt64) -> String {
        let units = ["bytes", "KiB", "MiB", "GiB", "TiB", "PiB"]
        var value = Double(bytes), unit = 0
        while value >= 1024, unit < units.count - 1 { (value, unit) = (value / 1024, unit + 1) }
        let tenths = (value * 10).rounded() / 10
        return "\(tenths == tenths.rounded() ? String(Int(tenths)) : String(tenths)) \(units[unit])"
    }

    /// Nil while the sandbox may go on.
    static func verdict(on usage: SandboxUsage, limits: SandboxLimits, limitsMemory: Bool) -> (SandboxDeath.Cause, String)? {
        if usage.diskBytes == .max {
            return (.disk, "The workspace was stopped: a directory tree in its home is nested too deeply to be measured.")
        }
        if usage.diskBytes > limits.diskBytes {
            return (
                .disk,
                "The workspace was stopped: its files take \(words(usage.diskBytes)), more than the \(words(limits.diskBytes)) it may use."
            )
        }
        if !limitsMemory, usage.memoryBytes > limits.memoryBytes {
            return (
                .memory,
                "The workspace was stopped: it used \(words(usage.memoryBytes)) of memory, more than the \(words(limits.memoryBytes)) it may use."
            )
        }
        return nil
    }
}

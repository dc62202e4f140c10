/// A number with its noun, as people write it: `1 file`, `0 files`, `12 files`.
package func counted(_ number: Int, _ noun: String) -> String { "\(number) \(noun)\(number == 1 ? "" : "s")" }

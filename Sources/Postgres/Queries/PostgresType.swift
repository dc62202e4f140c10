/// A type by its number in PostgreSQL's catalogue (those numbers never change), and the number of its array type.
package struct PostgresType: Sendable, Hashable {
    package var oid: UInt32
    package var arrayOID: UInt32

    package static let bool = Self(oid: 16, arrayOID: 1000)
    package static let bytea = Self(oid: 17, arrayOID: 1001)
    package static let int8 = Self(oid: 20, arrayOID: 1016)
    package static let int4 = Self(oid: 23, arrayOID: 1007)
    package static let text = Self(oid: 25, arrayOID: 1009)
    package static let float8 = Self(oid: 701, arrayOID: 1022)
    package static let timestamptz = Self(oid: 1184, arrayOID: 1185)
    package static let uuid = Self(oid: 2950, arrayOID: 2951)
    package static let jsonb = Self(oid: 3802, arrayOID: 3807)

    /// What a type is called in messages.
    static func name(_ oid: UInt32) -> String { names[oid] ?? "type \(oid)" }

    static func isArray(_ oid: UInt32) -> Bool { names[oid]?.hasSuffix("[]") ?? (oid == 3807 || oid >= 16384) }

    private static let names: [UInt32: String] = [
        16: "bool", 17: "bytea", 18: "char", 19: "name", 20: "int8", 21: "int2", 23: "int4", 25: "text", 26: "oid", 114: "json",
        142: "xml", 700: "float4", 701: "float8", 705: "unknown", 869: "inet", 1000: "bool[]", 1001: "bytea[]", 1005: "int2[]",
        1007: "int4[]", 1009: "text[]", 1015: "varchar[]", 1016: "int8[]", 1022: "float8[]", 1042: "bpchar", 1043: "varchar",
        1082: "date", 1114: "timestamp", 1184: "timestamptz", 1185: "timestamptz[]", 1186: "interval", 1700: "numeric",
        2278: "void", 2950: "uuid", 2951: "uuid[]", 3802: "jsonb",
    ]
}

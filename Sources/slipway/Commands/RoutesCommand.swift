import API
import ArgumentParser

struct RoutesCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "routes", abstract: "Names under which calls go to the first of several models that answers.",
        discussion: "Clients use them as the model, with <server>/api/v2/ai-gateway/auto as their base URL.",
        subcommands: [List.self, Set.self, Remove.self], defaultSubcommand: List.self)

    struct List: AsyncParsableCommand {
        static let configuration = CommandConfiguration(abstract: "All routes.")
        @OptionGroup var connection: Connection

        func run() async throws {
            try await reporting {
                let list: ModelRouteList = try await connection.client().get(APIPaths.modelRoutes)
                try connection.show(list) { list in
                    let isHedged = list.routes.contains { $0.hedge != nil }
                    var table = isHedged ? Table("name", "targets", "hedge") : Table("name", "targets")
                    for route in list.routes {
                        let cells = [route.name, route.targets.joined(separator: " → ")]
                        table.add(row: isHedged ? cells + [route.hedge?.text ?? "-"] : cells)
                    }
                    table.show(ifEmpty: "No routes. Add one: slipway routes set NAME PROVIDER/MODEL PROVIDER/MODEL")
                }
            }
        }
    }

    struct Set: AsyncParsableCommand {
        static let configuration = CommandConfiguration(abstract: "Add a route, or change it.")
        @OptionGroup var connection: Connection
        @Argument(help: "Name: what clients name as their model.") var name: String
        @Argument(
            help:
                "PROVIDER/MODEL, tried one after the other; with a comma and weights, calls are shared out: a/x*3,b/x (in quotes).")
        var targets: [String]
        @Option(
            help:
                "Send a call again, to the next target, when no answer has begun after this quantile of the recent times (p95) or this time (800ms)."
        )
        var hedge: String?
        @Option(help: "The least time with a quantile, in milliseconds; 200 unless told.") var hedgeFloor: Int?
        @Option(help: "How many recent times a quantile needs, 1 to 200; 30 unless told.") var hedgeSamples: Int?
        @Option(help: "How many of the calls may be sent twice, in percent; 10 unless told.") var hedgeShare: Int?

        func validate() throws {
            guard hedge != nil || [hedgeFloor, hedgeSamples, hedgeShare].allSatisfy({ $0 == nil }) else {
                throw ValidationError("--hedge-floor, --hedge-samples and --hedge-share go with --hedge.")
            }
            if let hedge, !hedge.hasPrefix("p"), hedgeFloor != nil || hedgeSamples != nil {
                throw ValidationError("--hedge-floor and --hedge-samples go with a quantile such as --hedge p95, not with a time.")
            }
        }

        func run() async throws {
            try await reporting {
                let route: AIModelRoute = try await connection.client().put(
                    "\(APIPaths.modelRoutes)/\(APIClient.escape(name))",
                    PutModelRouteRequest(
                        targets: targets,
                        hedge: hedge.map {
                            AIRouteHedge(
                                after: $0, floorMilliseconds: hedgeFloor, samples: hedgeSamples, sharePercent: hedgeShare)
                        }))
                try connection.show(route) { route in
                    print("\(route.name): \(route.targets.joined(separator: " → "))")
                    if let hedge = route.hedge { print("sent again \(hedge.text)") }
                }
            }
        }
    }

    struct Remove: AsyncParsableCommand {
        static let configuration = CommandConfiguration(abstract: "Remove a route.")
        @OptionGroup var connection: Connection
        @Argument(help: "Name of the route.") var name: String

        func run() async throws {
            try await reporting {
                try await connection.client().send("DELETE", "\(APIPaths.modelRoutes)/\(APIClient.escape(name))")
                try connection.done("Removed \(name).")
            }
        }
    }
}

extension AIRouteHedge {
    fileprivate var text: String {
        let share = "at most \(sharePercent ?? 0) % of the calls"
        guard after.hasPrefix("p") else { return "after \(after), \(share)" }
        return "after \(after) of \(samples ?? 0) calls or more, at least \(floorMilliseconds ?? 0)ms, \(share)"
    }
}

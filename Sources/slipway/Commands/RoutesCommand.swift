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
                    var table = Table("name", "targets")
                    for route in list.routes { table.add(route.name, route.targets.joined(separator: " → ")) }
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

        func run() async throws {
            try await reporting {
                let route: AIModelRoute = try await connection.client().put(
                    "\(APIPaths.modelRoutes)/\(APIClient.escape(name))", PutModelRouteRequest(targets: targets))
                try connection.show(route) { print("\($0.name): \($0.targets.joined(separator: " → "))") }
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

import Core
import Foundation

/// What every call needs to know, read from the database in one snapshot and kept in memory.
struct Settings: Sendable {
    private var providersByOrganization: [OrganizationID: [String: Provider]] = [:]
    private var contentModes: [OrganizationID: ContentMode] = [:]
    private var routesByOrganization: [OrganizationID: [String: ModelRoute]] = [:]
    let policies: PolicySnapshot
    /// Nil in tests that have none.
    var budgets: BudgetStates?
    var prices: PriceBook
    var version: Int64
    /// Budgets and limits.
    var governance = Governance()
    /// Whose servers' tools may be put into model calls; nil before they are read.
    var injection: [OrganizationID: InjectionOffer]?

    init(
        version: Int64, providers: [Provider], policies: PolicySnapshot, routes: [ModelRoute], prices: PriceBook,
        contentModes: [OrganizationID: ContentMode] = [:]
    ) {
        self.contentModes = contentModes
        self.version = version
        self.prices = prices
        self.policies = policies
        // Later ones win: what is stored comes before what the environment gave.
        for provider in providers { providersByOrganization[provider.organization, default: [:]][provider.name] = provider }
        for route in routes { routesByOrganization[route.organization, default: [:]][route.name] = route }
    }

    func provider(named name: String, organization: OrganizationID) -> Provider? { providersByOrganization[organization]?[name] }

    func providers(of organization: OrganizationID) -> [Provider] {
        (providersByOrganization[organization] ?? [:]).values.sorted { $0.name < $1.name }
    }

    func route(named name: String, organization: OrganizationID) -> ModelRoute? { routesByOrganization[organization]?[name] }

    func routes(of organization: OrganizationID) -> [ModelRoute] {
        (routesByOrganization[organization] ?? [:]).values.sorted { $0.name < $1.name }
    }

    func contentMode(of organization: OrganizationID) -> ContentMode { contentModes[organization] ?? .full }
}

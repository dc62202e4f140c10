import Core
import HTTPTransport
import Logging
import Postgres
import Telemetry

/// What a gateway is made of.
package struct GatewayConfiguration: Sendable {
    package var pool: PostgresPool
    /// Connections of the calls themselves: holds, settlements, content, flushes.
    package var calls: PostgresPool
    package var transport: HTTPTransport
    package var keys: KeyRing
    /// This process; its row in `replicas` is kept alive by the server.
    package var replica: ReplicaID
    package var prices: PriceBook
    /// From the environment and the scripted model; stored ones come before them.
    package var fixedProviders: [Provider]
    package var limits: Admission.Limits
    package var timeouts: HTTPClientRequest.Timeouts
    package var checkpoints: CheckpointSchedule
    /// How long a call waits to be put on record. A database that takes longer is not there for it.
    package var patience: Duration
    /// When this process may say of another one that it is dead.
    package var contact: DatabaseContact.Bounds
    /// Whose YAML files are policies of the default organization; nil: none is.
    package var policyFolder: String?
    package var metrics: Metrics
    /// Nil: nothing is traced.
    package var tracer: Tracer?
    /// Whether metrics name who called.
    package var namesUsers: Bool
    /// Nil: servers of tools that are programs are refused.
    package var programs: (any ToolProgramStarter)?
    package var logger: Logger

    package init(
        pool: PostgresPool, calls: PostgresPool? = nil, transport: HTTPTransport, keys: KeyRing, replica: ReplicaID,
        prices: PriceBook,
        fixedProviders: [Provider] = [],
        limits: Admission.Limits = .init(), timeouts: HTTPClientRequest.Timeouts = .init(),
        checkpoints: CheckpointSchedule = .init(), patience: Duration = .seconds(5),
        contact: DatabaseContact.Bounds = .init(), policyFolder: String? = nil,
        metrics: Metrics = Metrics(), tracer: Tracer? = nil, namesUsers: Bool = false,
        programs: (any ToolProgramStarter)? = nil, logger: Logger
    ) {
        self.pool = pool
        self.calls = calls ?? pool
        self.transport = transport
        self.keys = keys
        self.replica = replica
        self.prices = prices
        self.fixedProviders = fixedProviders
        self.limits = limits
        self.timeouts = timeouts
        self.checkpoints = checkpoints
        self.patience = patience
        self.contact = contact
        self.policyFolder = policyFolder
        self.metrics = metrics
        self.tracer = tracer
        self.namesUsers = namesUsers
        self.programs = programs
        self.logger = logger
    }
}

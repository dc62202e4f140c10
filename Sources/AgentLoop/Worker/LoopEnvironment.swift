import Core
import Foundation
import Logging
import ModelAPI
import Telemetry

/// What every task of a worker shares.
package struct LoopEnvironment: Sendable {
    package struct Settings: Sendable {
        /// Tasks that one worker has at a time.
        package var maxTasks = 64
        package var maxOutputTokens = 16_000
        package var pollInterval = Duration.milliseconds(500)
        package var heartbeatInterval = Duration.seconds(1)

        package init() {}
    }

    package var store: StepStore
    package var files: TaskFiles
    package var model: any ModelClient
    /// Nil: the loop adds up what its calls cost.
    package var ledger: (any TaskLedger)?
    package var workspaces: any WorkspaceProvider
    /// Nil: every tool may be called.
    package var toolPolicy: (any ToolPolicy)?
    package var prompts: PromptSet
    package var bus: TaskBus
    package var previews: PreviewHub
    package var meters: LoopMeters
    /// Nil: nothing is traced.
    package var tracer: Tracer?
    package var logger: Logger
    package var clock: WallClock
    package var settings: Settings

    package init(
        store: StepStore, files: TaskFiles, model: any ModelClient, ledger: (any TaskLedger)? = nil,
        workspaces: any WorkspaceProvider, prompts: PromptSet,
        bus: TaskBus, previews: PreviewHub, metrics: Metrics = .init(), tracer: Tracer? = nil, logger: Logger,
        clock: WallClock = .system,
        settings: Settings = .init()
    ) {
        self.store = store
        self.files = files
        self.model = model
        self.ledger = ledger
        self.workspaces = workspaces
        self.prompts = prompts
        self.bus = bus
        self.previews = previews
        meters = LoopMeters(metrics)
        self.tracer = tracer
        self.logger = logger
        self.clock = clock
        self.settings = settings
    }
}

import Core
import Foundation

extension ToolRunner {
    /// How long a command that is asked to end may take before it is killed.
    private static let killGrace = Duration.milliseconds(300)
    /// So long a command's end is waited for together with its start, which no stop cuts short.
    private static let firstWait = Duration.milliseconds(100)
    /// Beyond this a command that writes without end is read at a measured pace.
    private static let fastBytes = 1 << 20

    func execute(
        _ call: TaskSnapshot.Call, _ start: CommandStart, wait: Duration, isBackground: Bool, _ stop: CallStopBox
    ) async throws -> CallOutcome {
        let effect = Effect(call: call.id, fence: fence)
        // Not cut short by a stop: whether it was started must be known.
        var reading = OutputReading(collector: OutputCut.command.collector)
        let first = try await tools.start(start, effect: effect, wait: min(wait, Self.firstWait))
        do {
            try await read(call, number: call.number, &reading, first: first, wait: wait, untilOver: true, stop)
        } catch is CancellationError {
            switch stop.stop {
            case .kill: try await kill(call, &reading)
            case .detach: break
            case .abandon, nil: return .abandoned
            }
        }
        if case .unknown(let why) = reading.state { return .result(unknown(call, why)) }
        return .result(commandResult(call, reading, isBackground: isBackground, stop: stop.stop))
    }

    private func commandResult(_ call: TaskSnapshot.Call, _ reading: OutputReading, isBackground: Bool, stop: CallStop?)
        -> CallResult
    {
        let name = "p\(call.number)"
        let time = reading.elapsed.secondsText
        var status = describe(reading.state, name: name, time: time)
        if reading.state == .running {
            status =
                isBackground
                ? "started as \(name), still running"
                : "still running after \(time) as \(name); read on with process_output, end it with process_signal"
        }
        if stop == .kill { status = "interrupted by the user after \(time); the command was ended" }
        let output = OutputCut.command.text(
            of: reading.collector, more: "See the rest with process_output, process \(name) and an offset.")
        var exitCode: Int?
        if case .exited(let code) = reading.state { exitCode = code }
        let isError = stop == .kill || exitCode.map { $0 != 0 } ?? (reading.state != .running)
        return result(
            call, "[\(status)]\n\(output.isEmpty ? "(no output)" : output)",
            outcome: "\(reading.state)\n\(stop == .kill)\n\(output)", isError: isError, exitCode: exitCode, runtime: reading.elapsed
        )
    }

    private func describe(_ state: CommandState, name: String, time: String) -> String {
        switch state {
        case .running: "\(name) is still running"
        case .exited(let code): "exit code \(code), \(time)"
        case .signaled(let number): "ended by signal \(number), \(time)"
        case .unknown(let why): "the outcome of \(name) is unknown: \(why)"
        }
    }

    // MARK: Reading

    struct OutputReading {
        var collector: HeadTail
        var state = CommandState.running
        var cursor = 0
        let clock = ContinuousClock()
        let since: ContinuousClock.Instant
        var runtime: Duration?

        init(collector: HeadTail, cursor: Int = 0) {
            self.collector = collector
            self.cursor = cursor
            since = clock.now
        }

        /// Of the command, by the agent's clock when it tells.
        var elapsed: Duration { runtime ?? clock.now - since }
    }

    /// Reads until the command is over or the time has passed; or, without `untilOver`, until something was read.
    private func read(
        _ call: TaskSnapshot.Call, number: Int, _ reading: inout OutputReading, first: CommandOutput? = nil, wait: Duration,
        untilOver: Bool, _ stop: CallStopBox
    ) async throws {
        var first = first
        while true {
            let left = max(.zero, wait - reading.elapsedForWait(untilOver: untilOver))
            let cursor = reading.cursor
            let id = call.id
            let output: CommandOutput
            if let first {
                output = first
            } else {
                output = try await stop.waiting { try await tools.output(id, after: cursor, wait: min(left, .seconds(20))) }
            }
            first = nil
            reading.take(output)
            if !output.data.isEmpty { preview(number, String(decoding: output.data.prefix(16_384), as: UTF8.self)) }
            let isDrained = output.data.isEmpty
            if output.isLast { return }
            if left == .zero, isDrained || reading.collector.total > Self.fastBytes { return }
            if !untilOver, isDrained, reading.collector.total > 0 { return }
            if reading.collector.total > Self.fastBytes { try await stop.waiting { try await Task.sleep(for: .milliseconds(50)) } }
        }
    }

    /// Ends the command's whole group, first politely; takes well under a second.
    private func kill(_ call: TaskSnapshot.Call, _ reading: inout OutputReading) async throws {
        for signal in [CommandSignal.terminate, .kill] {
            // Signals of an interrupt are their own calls; that a process gets one twice does no harm.
            _ = try await tools.signal(call.id, signal, effect: Effect(call: CallID(), fence: fence))
            let output = try await ended(call.id, from: reading, within: Self.killGrace)
            reading = output
            if reading.state.isOver { return }
        }
    }

    private func ended(_ process: CallID, from start: OutputReading, within grace: Duration) async throws -> OutputReading {
        var reading = start
        let clock = ContinuousClock()
        let end = clock.now + grace
        while true {
            let output = try await tools.output(process, after: reading.cursor, wait: max(.zero, end - clock.now))
            reading.take(output)
            if output.isLast || clock.now >= end { return reading }
        }
    }

    // MARK: Handles

    private func command(_ name: String) -> TaskSnapshot.Call? {
        let digits = name.hasPrefix("p") ? name.dropFirst() : name[...]
        guard let number = Int(digits), let command = commands[number], command.hasEffect,
            ToolName(tolerant: command.tool) == .execute
        else {
            return nil
        }
        return command
    }

    private func noSuch(_ call: TaskSnapshot.Call, _ name: String) -> CallResult {
        let known = commands.values.filter { ToolName(tolerant: $0.tool) == .execute }.map(\.number).sorted().suffix(10).map {
            "p\($0)"
        }
        let list = known.isEmpty ? "No command was started yet." : "The last ones are: \(known.joined(separator: ", "))."
        return result(call, "There is no process '\(name.prefix(40))'. \(list)", isError: true)
    }

    func processOutput(
        _ call: TaskSnapshot.Call, _ name: String, wait: Duration, offset: Int?, _ stop: CallStopBox
    ) async throws -> (CallOutcome, (process: Int, cursor: Int)?) {
        guard let process = command(name) else { return (.result(noSuch(call, name)), nil) }
        var reading = OutputReading(collector: OutputCut.command.collector, cursor: offset ?? process.cursor)
        do {
            try await read(process, number: process.number, &reading, wait: wait, untilOver: false, stop)
        } catch is CancellationError where stop.stop != .abandon {
            // What was read so far is told.
        }
        let status = describe(reading.state, name: "p\(process.number)", time: reading.elapsed.secondsText)
        let output = OutputCut.command.text(of: reading.collector, more: "Read a part with an offset.")
        let text = "[\(status); read up to byte \(reading.cursor)]\n\(output.isEmpty ? "(no new output)" : output)"
        let done = result(call, text, outcome: "\(reading.state)\n\(reading.cursor)\n\(output)", cursor: reading.cursor)
        return (.result(done), (process.number, reading.cursor))
    }

    func processSignal(_ call: TaskSnapshot.Call, _ name: String, _ signal: String, _ stop: CallStopBox) async throws -> CallOutcome
    {
        guard let process = command(name), let signal = CommandSignal(rawValue: signal) else { return .result(noSuch(call, name)) }
        switch try await tools.signal(process.id, signal, effect: Effect(call: call.id, fence: fence)) {
        case .unknown(let why): return .result(unknown(call, why))
        case .done:
            let start = OutputReading(collector: HeadTail(head: 0, tail: 0), cursor: process.cursor)
            let reading = try await ended(process.id, from: start, within: .seconds(1))
            let status = describe(reading.state, name: "p\(process.number)", time: reading.elapsed.secondsText)
            return .result(result(call, "[sent \(signal.rawValue); \(status)]", outcome: "\(reading.state)"))
        }
    }
}

extension ToolRunner.OutputReading {
    mutating func take(_ output: CommandOutput) {
        collector.feed(output.data)
        cursor = output.cursor
        state = output.state
        runtime = output.runtime ?? runtime
    }

    /// A command is waited for from its start, a reader from its own.
    fileprivate func elapsedForWait(untilOver: Bool) -> Duration { untilOver ? elapsed : clock.now - since }
}

import API
import ArgumentParser
import Core

/// What the client ends with, and the sentences it says before.
struct Failure: Error {
    enum Status: Int32 {
        case failed = 1
        case notAllowed = 3
        case notFound = 4
        case taskNotCompleted = 5
        case auditProblems = 6
        case usage = 64
        case unreachable = 69
    }

    var status: Status
    var message: String
    /// What to do next.
    var hint: String?
    /// The server is away or cannot answer now; the same question may be answered later.
    var mayPass = false

    init(_ status: Status = .failed, _ message: String, hint: String? = nil) {
        self.status = status
        self.message = message
        self.hint = hint
    }

    /// An answer of the server that is no success.
    init(status: Int, body: ErrorResponse?) {
        var message = body?.message ?? "The server answered with status \(status)."
        if status == 400 { message = OptionNames.said(message) }
        for validation in body?.validations ?? [] where validation.detail != body?.message {
            message += "\n  \(validation.field): \(validation.detail)"
        }
        if let id = body?.detail, !id.isEmpty, status >= 500 { message += "\n  \(id)" }
        switch status {
        case 401: self.init(.notAllowed, message)
        case 403: self.init(.notAllowed, message)
        case 404: self.init(.notFound, message)
        default:
            self.init(.failed, message)
            mayPass = [502, 503, 504].contains(status)
        }
    }

    /// Says what happened on standard error and gives the code to end with.
    func report() -> ExitCode {
        Terminal.error(message)
        if let hint { Terminal.error(hint, prefix: "") }
        return ExitCode(status.rawValue)
    }
}

/// Runs a command's work and turns what it throws into a sentence and an exit code.
func reporting(_ work: () async throws -> Void) async throws {
    do {
        try await work()
    } catch let failure as Failure {
        throw failure.report()
    } catch let error as AppError {
        throw Failure(error.code == .unavailable || error.source == .upstream ? .unreachable : .failed, error.message).report()
    } catch is CancellationError {
        throw ExitCode(130)
    }
}

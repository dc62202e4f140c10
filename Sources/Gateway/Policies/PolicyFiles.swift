import Core
import Foundation
import Logging
import Policies

/// Policies that are kept as files: `*.yaml` of one folder. What differs from what is stored becomes a new version there, so the versions
/// and the record are the same as for policies that are put over the API. A policy whose file is gone is deleted.
package struct PolicyFiles: Sendable {
    package static let interval = Duration.seconds(2)

    let folder: String
    let policies: PolicyService
    let organization: OrganizationID
    let logger: Logger

    package init(folder: String, policies: PolicyService, organization: OrganizationID, logger: Logger) {
        self.folder = folder
        self.policies = policies
        self.organization = organization
        self.logger = logger
    }

    struct File: Sendable, Equatable {
        var path: String
        var text: String
    }

    /// Puts what the files say in force.
    ///
    /// - Throws: `badRequest` that names the file, and every problem in it by line and column.
    package func load() async throws { _ = try await apply(try read()) }

    /// Looks every two seconds until it is cancelled. Files that cannot be used change nothing, and the log says why, once.
    package func watch() async {
        // Nil: what has changed since `load` is seen, too.
        var known: [File]?
        var failed: [File]?
        while !Task.isCancelled {
            try? await Task.sleep(for: Self.interval)
            do {
                let files = try read()
                if files == known { continue }
                if files != failed {
                    failed = files
                    let changes = try await apply(files)
                    (known, failed) = (files, nil)
                    if changes > 0 {
                        logger.notice("The policies were read again from their files.", metadata: ["folder": "\(folder)"])
                    }
                }
            } catch is CancellationError {
                return
            } catch {
                logger.error("The policies stay as they were: \((error as? AppError)?.message ?? "\(error)")")
                // A database that was away is no fault of the files.
                if (error as? AppError)?.code != .badRequest { failed = nil }
            }
        }
    }

    private func read() throws -> [File] {
        let names: [String]
        do {
            names = try FileManager.default.contentsOfDirectory(atPath: folder)
        } catch {
            throw AppError(
                .badRequest, "The policy folder \(folder) cannot be read; make it, or leave --policy-dir out.", field: "policy-dir",
                cause: error)
        }
        return try names.filter { $0.hasSuffix(".yaml") && !$0.hasPrefix(".") }.sorted().map { name in
            let path = "\(folder)/\(name)"
            guard let data = FileManager.default.contents(atPath: path), let text = String(data: data, encoding: .utf8) else {
                throw AppError(.badRequest, "The policy file \(path) cannot be read, or is no text.", field: "policy-dir")
            }
            return File(path: path, text: text)
        }
    }

    /// - Returns: how many policies changed.
    private func apply(_ files: [File]) async throws -> Int {
        var sources: [String: String] = [:]
        for file in files {
            let object: PolicyObject
            do throws(PolicyFileError) {
                object = try PolicyReader.read(file.text)
            } catch {
                throw error.appError("The policy file \(file.path)", field: "policy-dir")
            }
            try PolicyService.checkReserved(object.name)
            guard sources.updateValue(file.text, forKey: object.name) == nil else {
                throw AppError(
                    .badRequest, "\(file.path): another file has a policy named '\(object.name)' already.", field: "policy-dir")
            }
        }
        guard sources.count <= PolicyService.most else {
            throw AppError(
                .badRequest, "\(folder) has \(sources.count) policies; at most \(PolicyService.most).", field: "policy-dir")
        }
        let wanted = sources
        return try await policies.change(organization, actor: nil) { connection in
            var changes: [PolicyService.Change] = []
            for (name, source) in wanted.sorted(by: { $0.key < $1.key }) {
                let newest = try await policies.store.newest(connection, organization, name)
                if newest?.source == source, newest?.origin == .file { continue }
                changes.append(.init(name: name, version: (newest?.version ?? 0) + 1, source: source, origin: .file))
            }
            for name in try await policies.store.names(connection, organization, .file) where wanted[name] == nil {
                guard let newest = try await policies.store.newest(connection, organization, name) else { continue }
                changes.append(.init(name: name, version: newest.version + 1, source: nil, origin: .file))
            }
            return changes
        }
    }
}

import CShims
import Core
import Foundation

/// Lets the server reach what it needs below folders that are closed to its user, such as a clone below `/root`: it and its children
/// see an empty folder in the place of the closed one, with nothing in it but what is needed, at the same paths.
struct ClosedFolders {
    let account: ServerAccount

    /// - Throws: `unavailable`, naming the folder, where even root may not mount.
    func open(_ paths: [String]) throws {
        let needed = Set(paths + paths.map(Self.resolved)).sorted()
        guard let first = needed.lazy.compactMap({ closedFolder(above: $0) }).first else { return }
        try check(slipway_private_mounts(), first)
        // Opened before anything is covered, and after the mounts became our own: only such can be shown elsewhere.
        let descriptors = needed.map { ($0, slipway_open_path($0)) }.filter { $0.1 >= 0 }
        defer { for (_, descriptor) in descriptors { close(descriptor) } }
        // Each turn opens the outermost closed folders; what is shown inside may have closed ones of its own.
        for _ in 0..<8 {
            let closed = Set(descriptors.compactMap { closedFolder(above: $0.0) })
            if closed.isEmpty { return }
            for folder in closed {
                try check(slipway_cover_folder(folder), folder)
                for (path, descriptor) in descriptors where path.hasPrefix(folder + "/") {
                    try show(path, descriptor, below: folder)
                }
            }
        }
    }

    private func show(_ path: String, _ descriptor: Int32, below folder: String) throws {
        var place = folder
        for name in path.dropFirst(folder.count).split(separator: "/") {
            place += "/" + name
            if mkdir(place, 0o711) != 0, errno != EEXIST { try check(-errno, folder) }
        }
        try check(slipway_show_at(descriptor, path), folder)
    }

    /// The outermost folder on the way that does not let the account pass.
    private func closedFolder(above path: String) -> String? {
        var place = ""
        for name in path.split(separator: "/").dropLast() {
            place += "/" + name
            var status = stat()
            guard stat(place, &status) == 0 else { return nil }
            let bit: mode_t = status.st_uid == account.uid ? 0o100 : status.st_gid == account.gid ? 0o010 : 0o001
            if status.st_mode & bit == 0 { return place }
        }
        return nil
    }

    /// Without links, the way the kernel will go.
    private static func resolved(_ path: String) -> String {
        guard let pointer = realpath(path, nil) else { return path }
        defer { free(pointer) }
        return String(cString: pointer)
    }

    private func check(_ error: Int32, _ folder: String) throws {
        guard error != 0 else { return }
        throw AppError(
            .unavailable,
            """
            The folder \(folder) is closed to the user \(ServerAccount.name), as whom the server runs when root starts it, and cannot be \
            opened to it alone (\(String(cString: strerror(-error)))). Run: chmod o+x \(folder); or put data and programs elsewhere.
            """, field: "data-dir")
    }
}

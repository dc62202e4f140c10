import Core

/// What surrounds every page: title, who looks at it, where in the navigation it stands.
struct PageFrame: Sendable {
    enum Section: Sendable { case none, tasks, workspaces, sessions, audit }

    struct Viewer: Sendable {
        var username: String
        var roles: String
        var mayAudit: Bool
        var onTasks: Bool
        var onWorkspaces: Bool
        var onSessions: Bool
        var onAudit: Bool
    }

    var title: String
    var viewer: Viewer?

    init(title: String, principal: Principal?, section: Section = .none) {
        self.title = title
        viewer = principal.map { principal in
            Viewer(
                username: principal.username,
                roles: principal.roles.sorted().map(\.rawValue).joined(separator: ", "),
                mayAudit: !principal.roles.isDisjoint(with: [.owner, .admin, .auditor]),
                onTasks: section == .tasks,
                onWorkspaces: section == .workspaces,
                onSessions: section == .sessions,
                onAudit: section == .audit)
        }
    }
}

/// A sentence on a page of its own: an error, or that something is not there.
struct MessagePage: PageView {
    static let template = "message"
    var frame: PageFrame
    var heading: String
    var message: String
    var requestId: String?
    var back = "/"
    var backTo = "Back to the start"
}

/// Signing in, or making the first account.
struct LoginPage: PageView {
    static let template = "login"
    var frame: PageFrame
    var setup: Bool
    var error: String?
    /// Where to go afterwards: a path on this server.
    var next: String
    var code = ""
    var usernameValue = ""
    var emailValue = ""
}

import Core
import HTTPTypes
import Hummingbird
import NIOCore

/// Turns views into answers for browsers.
struct PageResponder: Sendable {
    /// Scripts, styles and pictures come from here alone; nothing may frame a page, and forms lead nowhere else.
    static let contentSecurityPolicy = """
        default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; connect-src 'self'; form-action 'self'; \
        base-uri 'none'; frame-ancestors 'none'
        """

    let templates: DashboardTemplates

    func page(_ view: some PageView, status: HTTPResponse.Status = .ok) throws -> Response {
        html(try templates.render(view), status: status)
    }

    /// An error as a page with the same words that a program would get.
    func failed(_ error: AppError, _ incoming: Incoming, _ principal: Principal?) throws -> Response {
        let heading =
            switch error.code {
            case .notFound: "Not here"
            case .forbidden: "Not allowed"
            case .internal: "Something went wrong"
            case .unavailable: "Not now"
            default: "That did not work"
            }
        var view = MessagePage(
            frame: PageFrame(title: heading, principal: principal), heading: heading,
            message: error.code == .internal ? "The server's log says more." : error.message, requestId: incoming.requestID)
        if incoming.request.method == .post, let (path, name) = Self.page(ofForm: incoming.request.uri.path) {
            view.back = path
            view.backTo = name
        }
        return try page(view, status: error.status)
    }

    /// The page that has the form which is sent to `path`.
    static func page(ofForm path: String) -> (path: String, name: String)? {
        let parts = path.split(separator: "/")
        switch parts.first {
        case "tasks" where parts.count == 3: return ("/tasks/\(parts[1])", "Back to the task")
        case "workspaces": return ("/workspaces", "Back to the workspaces")
        default: return nil
        }
    }

    func seeOther(_ path: String) -> Response { Response(status: .seeOther, headers: [.location: path]) }

    private func html(_ text: String, status: HTTPResponse.Status) -> Response {
        Response(
            status: status,
            headers: [
                .contentType: "text/html; charset=utf-8", .cacheControl: "no-store",
                .contentSecurityPolicy: Self.contentSecurityPolicy,
            ],
            body: .init(byteBuffer: ByteBuffer(string: text)))
    }

    /// Where to go after signing in: a path on this server, else its start. `//host` and `/\host` would lead elsewhere, and so
    /// would `/<tab>/host`: browsers take control characters out of a URL before they read it.
    static func localPath(_ text: String) -> String {
        let isPlain = text.utf8.allSatisfy { (0x21...0x7E).contains($0) }
        guard isPlain, text.hasPrefix("/"), !text.hasPrefix("//"), !text.hasPrefix("/\\") else { return "/tasks" }
        return text == "/" ? "/tasks" : text
    }
}

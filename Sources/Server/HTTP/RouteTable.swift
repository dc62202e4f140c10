import API
import Core
import HTTPTypes
import Hummingbird

/// Where every route is registered: each names its action, and the permission table decides before the handler runs.
package final class RouteTable {
    package enum Entrance: Sendable {
        /// By token or by cookie.
        case api
        /// Also for strangers.
        case open
        /// By token alone.
        case door
        /// By cookie alone.
        case page
    }

    package struct Entry: Sendable {
        package var entrance: Entrance
        package var method: String
        package var path: String
        package var action: Action
    }

    private let router: Router<SlipwayContext>
    private let authenticator: Authenticator
    package private(set) var entries: [Entry] = []

    package init(router: Router<SlipwayContext>, authenticator: Authenticator) {
        self.router = router
        self.authenticator = authenticator
    }

    /// A route for who has logged in, by token or in a browser.
    package func on(
        _ method: HTTPRequest.Method, _ path: String, _ action: Action,
        _ handle: @escaping @Sendable (Call) async throws -> Response
    ) {
        precondition(action.rule != .anyone, "\(path): the action \(action) is open to anyone; register it with open(…)")
        let authenticator = authenticator
        add(.api, method, path, action) { incoming in
            let principal = try await authenticator.principal(of: incoming.request)
            return try await handle(Self.admit(incoming, principal, action))
        }
    }

    /// A route that also strangers may call.
    package func open(
        _ method: HTTPRequest.Method, _ path: String, _ action: Action,
        _ handle: @escaping @Sendable (Incoming) async throws -> Response
    ) {
        precondition(action.rule == .anyone, "\(path): the action \(action) is not open to anyone; register it with on(…)")
        add(.open, method, path, action, handle)
    }

    /// A route for API tokens alone, whose errors have the shape that its callers expect.
    package func door(
        _ method: HTTPRequest.Method, _ path: String, _ action: Action,
        refuse: @escaping @Sendable (AppError, Incoming) -> Response,
        _ handle: @escaping @Sendable (Call) async throws -> Response
    ) {
        let authenticator = authenticator
        add(.door, method, path, action) { incoming in
            do {
                let principal = try await authenticator.principalByToken(of: incoming.request)
                return try await handle(Self.admit(incoming, principal, action))
            } catch let error as AppError {
                return refuse(error, incoming)
            }
        }
    }

    /// A page: strangers are sent to `/login` and come back afterwards; errors are shown by `failed`.
    package func page(
        _ method: HTTPRequest.Method, _ path: String, _ action: Action,
        failed: @escaping @Sendable (AppError, Incoming, Principal?) throws -> Response,
        _ handle: @escaping @Sendable (Call) async throws -> Response
    ) {
        let authenticator = authenticator
        add(.page, method, path, action) { incoming in
            var principal: Principal?
            do {
                principal = try await authenticator.sessionPrincipal(of: incoming.request)
                guard let principal else {
                    let target = incoming.request.method == .get ? incoming.request.uri.description : "/"
                    let next = target.addingPercentEncoding(withAllowedCharacters: .alphanumerics) ?? ""
                    return Response(status: .seeOther, headers: [.location: "/login?next=\(next)"])
                }
                return try await handle(Self.admit(incoming, principal, action))
            } catch {
                let error = AppError(anything: error)
                incoming.context.note(error)
                return try failed(error, incoming, principal)
            }
        }
    }

    private static func admit(_ incoming: Incoming, _ principal: Principal, _ action: Action) throws -> Call {
        Call(incoming: incoming, principal: principal, reach: try reach(principal, action))
    }

    /// - Throws: `forbidden`, saying who may not do what.
    static func reach(_ principal: Principal, _ action: Action) throws -> Reach {
        let reach = principal.reach(of: action)
        guard reach > .none else {
            let roles = principal.roles.map(\.rawValue).sorted().joined(separator: ", ")
            let scope = principal.scope == .all ? "" : ", with a token of scope '\(principal.scope.rawValue)'"
            throw AppError(.forbidden, "'\(principal.username)' (\(roles)\(scope)) may not do this (\(action.rawValue)).")
        }
        return reach
    }

    /// Answers what the API's paths do not take with 405 and what they take. After all routes are registered; a door's paths are its own.
    package func refuseOtherMethods() {
        let shapes = Dictionary(grouping: entries.filter { $0.path.hasPrefix(APIPaths.base) }) { entry in
            entry.path.replacing(/{[^}]*}/, with: "{}")
        }
        for entries in shapes.values where entries.allSatisfy({ $0.entrance == .api || $0.entrance == .open }) {
            let taken = Set(entries.map(\.method)).sorted()
            for method in [HTTPRequest.Method.get, .post, .put, .patch, .delete] where !taken.contains(method.rawValue) {
                router.on(RouterPath(entries[0].path), method: method) { _, context in
                    let error = AppError(
                        .badRequest, "This path does not take \(method.rawValue); it takes \(taken.joined(separator: ", ")).")
                    var response = Response.error(error, requestID: context.requestID)
                    response.status = .methodNotAllowed
                    response.headers[.allow] = taken.joined(separator: ", ")
                    return response
                }
            }
        }
    }

    private func add(
        _ entrance: Entrance, _ method: HTTPRequest.Method, _ path: String, _ action: Action,
        _ handle: @escaping @Sendable (Incoming) async throws -> Response
    ) {
        entries.append(Entry(entrance: entrance, method: method.rawValue, path: path, action: action))
        router.on(RouterPath(path), method: method) { request, context in
            // What follows a door is the provider's to read.
            for (name, value) in request.uri.queryParameters where entrance != .door && !Unstorable.isFree(value) {
                throw Unstorable.refusal(Unstorable.isFree(name) ? String(name) : "(query)")
            }
            return try await handle(Incoming(request: request, context: context))
        }
    }
}

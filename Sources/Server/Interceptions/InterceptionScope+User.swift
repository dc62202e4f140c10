import Core
import Gateway

extension InterceptionScope {
    /// Whose calls the parameter `user` of a query asks for: one's own (`me`, or nothing), everybody's (`all`), or those of somebody by
    /// name or id.
    ///
    /// - Throws: `forbidden` for others' to who may not see them, whether or not they are there; `notFound`.
    init(_ principal: Principal, user: String?, among users: UserService) async throws {
        let own = ["me", principal.username, principal.user.description]
        guard let user, !own.contains(user) else {
            self = .own(principal)
            return
        }
        guard principal.reach(of: .readInterceptions) == .everyones else {
            throw AppError(
                .forbidden, "Only owners, admins and auditors see what others spent; without 'user' it is one's own.", field: "user"
            )
        }
        self = .all(principal)
        if user != "all" { self.user = try await users.get(principal, user).id }
    }
}

import API
import ArgumentParser
import Foundation

struct LoginCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "login", abstract: "Sign in to a server, or make its first user.",
        discussion: "An API token of this machine is made and kept in ~/.config/slipway/login.json, readable by you alone.")

    @Argument(help: "Address of the server, e.g. http://127.0.0.1:7990.")
    var url: String

    @Flag(help: "Make the first user of a new server, with the code it printed.")
    var firstUser = false

    @Option(help: "The one-time code that the server printed.")
    var setupCode: String?

    @Option(help: "User name; asked for when absent.")
    var username: String?

    @Option(help: "E-mail address of the first user.")
    var email: String?

    @Option(help: "PEM certificates to trust instead of the system's; kept for later commands. Default: SLIPWAY_CA_FILE.")
    var caFile: String?

    @Flag(help: "Read the password from standard input instead of asking.")
    var passwordStdin = false

    func validate() throws {
        if firstUser != (setupCode != nil) {
            throw ValidationError("--first-user and --setup-code go together.")
        }
    }

    func run() async throws {
        try await reporting {
            let ca = (caFile ?? StoredLogin.environmentCAFile).map { URL(fileURLWithPath: $0).path }
            let client = try APIClient(url: url, token: nil, caFile: ca)
            if !firstUser {
                let state: FirstUserState = try await client.get(APIPaths.firstUser)
                guard state.exists else {
                    throw Failure(
                        .failed, "\(client.url) has no user yet.",
                        hint:
                            "Make the first: slipway login \(client.url) --first-user --setup-code CODE (the server printed the code)"
                    )
                }
            }
            let name = try username ?? ask("User name: ")
            let password = try readPassword()
            let tokenName = "slipway on \(ProcessInfo.processInfo.hostName)"
            let answer: LoginResponse =
                if let setupCode {
                    try await client.post(
                        APIPaths.firstUser,
                        CreateFirstUserRequest(
                            setupCode: setupCode, username: name, email: email, password: password, tokenName: tokenName))
                } else {
                    try await client.post(
                        APIPaths.login, LoginRequest(username: name, password: password, tokenName: tokenName))
                }
            guard let token = answer.token else { throw Failure(.failed, "The server gave no token.") }
            try StoredLogin(url: client.url, username: answer.user.username, token: token, caFile: ca).save()
            print("Signed in to \(client.url) as \(answer.user.username) (\(answer.user.roles.joined(separator: ", "))).")
        }
    }

    private func ask(_ question: String) throws -> String {
        FileHandle.standardError.write(Data(question.utf8))
        guard let line = readLine(), !line.isEmpty else {
            throw Failure(.usage, "No user name was given.", hint: "Use --username.")
        }
        return line
    }

    private func readPassword() throws -> String {
        if passwordStdin {
            guard let line = readLine(strippingNewline: true), !line.isEmpty else {
                throw Failure(.usage, "Standard input held no password.")
            }
            return line
        }
        guard let password = Terminal.askSecret("Password: "), !password.isEmpty else {
            throw Failure(.usage, "No password was given.", hint: "Without a terminal, use --password-stdin.")
        }
        return password
    }
}

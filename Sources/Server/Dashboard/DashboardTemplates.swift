import Core
import Mustache

/// The pages' templates, compiled once at start. A template that does not parse ends the start, so it cannot reach a user.
package struct DashboardTemplates: Sendable {
    private let library: MustacheLibrary

    package init(files: [String: String]) throws {
        var library = MustacheLibrary()
        for (name, text) in files where name.hasSuffix(".mustache") {
            try library.register(text, named: String(name.dropLast(".mustache".count)))
        }
        self.library = library
    }

    /// - Parameter view: a value whose property names are the template's tags.
    func render(_ view: some PageView) throws -> String { try render(view, template: type(of: view).template) }

    func render(_ view: some Sendable, template: String) throws -> String {
        guard let html = library.render(view, withTemplate: template) else {
            throw AppError(.internal, "The page could not be made.", detail: "no template named \(template)")
        }
        return html
    }
}

/// What one page shows; every page has the frame's fields too.
protocol PageView: Sendable {
    static var template: String { get }
    var frame: PageFrame { get }
}

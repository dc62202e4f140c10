import Policies
import Testing

@Suite struct PolicyTests {
    @Test func `the policies that the page for admins shows are policies`() throws {
        let blocks = try Repository.markdown("docs/policies.md").blocks.filter { $0.info == "yaml" }
        #expect(!blocks.isEmpty)
        for block in blocks {
            let object = try PolicyReader.read(block.text)
            #expect(!object.rules.isEmpty)
        }
    }

    @Test func `the policy that is built in is the file of the repository`() throws {
        #expect(try Repository.text("config/policies/default.yaml") == BuiltInPolicy.source)
    }
}

import API
import Core
import Foundation
import TestSupport
import Testing

@testable import Server

/// The server's clock jumps while it serves.
@Suite(.serialized, .timeLimit(.minutes(5))) struct ClockJumpTests {
    /// Stands before the C library's clocks and adds the seconds that a file holds.
    private static let source = """
        #define _GNU_SOURCE
        #include <dlfcn.h>
        #include <fcntl.h>
        #include <stdint.h>
        #include <stdlib.h>
        #include <sys/mman.h>
        #include <sys/time.h>
        #include <time.h>
        #include <unistd.h>
        static volatile int64_t *shift;
        __attribute__((constructor)) static void begin(void) {
            int file = open(getenv("TEST_CLOCK"), O_RDONLY);
            if (file < 0) abort();
            shift = mmap(NULL, 8, PROT_READ, MAP_SHARED, file, 0);
            if (shift == MAP_FAILED) abort();
            close(file);
        }
        int clock_gettime(clockid_t clock, struct timespec *at) {
            static int (*real)(clockid_t, struct timespec *);
            if (!real) real = dlsym(RTLD_NEXT, "clock_gettime");
            int result = real(clock, at);
            if (result == 0 && shift && (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE)) at->tv_sec += *shift;
            return result;
        }
        int gettimeofday(struct timeval *at, void *zone) {
            struct timespec now;
            if (clock_gettime(CLOCK_REALTIME, &now) != 0) return -1;
            at->tv_sec = now.tv_sec;
            at->tv_usec = now.tv_nsec / 1000;
            return 0;
        }
        time_t time(time_t *at) {
            struct timespec now;
            clock_gettime(CLOCK_REALTIME, &now);
            if (at) *at = now.tv_sec;
            return now.tv_sec;
        }
        """

    @Test func `calls are answered, recorded and paid once whichever way the server's clock jumps`() async throws {
        let folder = try ServerProcess.temporaryDirectory()
        try Self.source.write(toFile: folder + "/clock.c", atomically: true, encoding: .utf8)
        try Shell.check("cc -shared -fPIC -O2 -o clock.so clock.c -ldl", in: folder)
        func jump(_ seconds: Int64) throws {
            // In place: the server has the file mapped.
            let file = try FileHandle(forWritingTo: URL(fileURLWithPath: folder + "/shift"))
            try withUnsafeBytes(of: seconds) { try file.write(contentsOf: Data($0)) }
            try file.close()
        }
        try Data(count: 8).write(to: URL(fileURLWithPath: folder + "/shift"))
        try await RawServer.with(ScriptedProvider.script()) { upstream in
            try await TestDatabase.with { database in
                let pool = database.pool()
                let token = try await People.token(pool, "ada", roles: [.owner])
                try await pool.execute(
                    "INSERT INTO ai_budget_caps (user_id, organization_id, cap) SELECT id, organization_id, 900000000 FROM users")
                try await pool.execute("UPDATE tokens SET expires_at = NULL")
                let server = try await ServerProcess.start(
                    database: database.url,
                    environment: ScriptedProvider.environment(upstream).merging(
                        ["LD_PRELOAD": folder + "/clock.so", "TEST_CLOCK": folder + "/shift"]) { $1 })
                let client = Client(server, token: token)
                var answered: [String] = []
                try await CallLoad.with(client) { load in
                    try await load.more(20)
                    // A day on, half a year back, ten years on, and right again.
                    for seconds: Int64 in [86_400, -15_000_000, 315_000_000, 0] {
                        try jump(seconds)
                        let date = try await client.get("/healthz").header("date") ?? ""
                        try await load.more(40)
                        // The jump is real: the server's own clock shows it.
                        if abs(seconds) > 100_000 {
                            let year = Calendar(identifier: .gregorian).component(
                                .year, from: Date(timeIntervalSinceNow: Double(seconds)))
                            try await eventually("\(date) is of \(year)") {
                                try await client.get("/healthz").header("date")?.contains(" \(year) ") == true
                            }
                        }
                    }
                    await load.stop()
                    #expect(load.refused.isEmpty, "\(load.refused)")
                    answered = load.answered
                }
                #expect(answered.count >= 180)
                try await Books(pool: pool).check(answered: answered)
                try await Books(pool: pool).verify(client)
                // Months and times of the record are the database's.
                let odd = try await pool.query(
                    """
                    SELECT count(*) AS n FROM ai_interceptions
                    WHERE abs(extract(epoch FROM now() - started_at)) > 3600 OR ended_at < started_at
                    """)
                #expect(try odd[0]["n", as: Int64.self] == 0)
                #expect(try await pool.query("SELECT DISTINCT period FROM ai_budgets").count == 1)
                await pool.close()
                await server.stop()
            }
        }
        try FileManager.default.removeItem(atPath: folder)
    }
}

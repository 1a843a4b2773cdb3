import { defineConfig } from "vitest/config";

const source = { ssr: { resolve: { conditions: ["@netmem/source"] } } };

export default defineConfig({
  test: {
    // By default one core stays idle, which is half of a machine with two.
    maxWorkers: "100%",
    projects: [
      {
        extends: true,
        ...source,
        test: {
          name: "source",
          include: ["packages/*/test/**/*.test.ts", "apps/*/test/**/*.test.ts", "tools/*/test/**/*.test.ts"],
          exclude: ["**/*.dist.test.ts", "**/node_modules/**"],
          testTimeout: 30_000,
          // No layer keeps anything between machines (a law), and the command line nothing that a second run would see: one worker's modules serve all of its files.
          isolate: false,
        },
      },
      {
        // Soak, large property tests, allocation counts: on the built packages, four to five times faster.
        extends: true,
        test: {
          name: "dist",
          include: ["packages/*/test/**/*.dist.test.ts", "apps/*/test/**/*.dist.test.ts", "tools/*/test/**/*.dist.test.ts"],
          server: { deps: { external: [/\/dist\//] } },
          pool: "forks",
          execArgv: ["--expose-gc", "--max-inlined-bytecode-size-cumulative=20000"],
          testTimeout: 120_000,
        },
      },
    ],
  },
});

import { mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { PRESET_NAMES } from "@netmem/machine";
import type { ReplayDocument } from "../src/replay/command.ts";
import { cli } from "./cli.ts";

const ROOT = fileURLToPath(new URL("../../..", import.meta.url));
const CAPTURES = ["tcp-download.pcap", "jumbo.pcap", "dns-ping.pcapng"].map((name) => `examples/captures/${name}`);
const RECYCLING = PRESET_NAMES.filter((name) => name !== "stock");
let folder = "";

beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), "netmem-plugins-"));
});
afterAll(() => rmSync(folder, { recursive: true }));

async function replay(...args: readonly string[]): Promise<ReplayDocument> {
  const { code, out, err } = await cli(["replay", ...args, "--json", "--counts-only"], ROOT);
  expect([code, err]).toEqual([0, ""]);
  return JSON.parse(out) as ReplayDocument;
}

function write(name: string, text: string): string {
  const path = join(folder, name);
  mkdirSync(join(path, ".."), { recursive: true });
  writeFileSync(path, text);
  return path;
}

/** What the user reads must not hang on where it was. */
const PLAIN = replay(...CAPTURES, "--sockets", "2", "--design", "6.18", "--rcvbuf", "20000000");

test("buffers that are enough for the capture are enough, though the frames that warm the engine up would take more", async () => {
  const { code, out, err } = await cli(["replay", CAPTURES[0]!, "--driver", "header-split", "--model", "netgpu", "--sockets", "1", "--reader", "never", "--buffers", "1024", "--design", "6.18", "--json"], ROOT);
  expect([code, err]).toEqual([0, ""]);
  expect((JSON.parse(out) as ReplayDocument).runs[0]!.nsPerPacket).toBeGreaterThan(0);
});

test("a driver that has no ring as short as the warm-up's first is warmed up with its own, and replayed", async () => {
  const mvneta = join(ROOT, "packages/driver-mvneta/src/index.ts");
  const path = write("long-rings.ts", `
import { UsageError } from "@netmem/kernel/api";
import { mvneta } from ${JSON.stringify(mvneta)};

const longRings = { ...mvneta, name: "long-rings", probe: (deps, options) => {
  globalThis.longRingsProbed = [...(globalThis.longRingsProbed ?? []), options.rxRingSize];
  if (options.rxRingSize < 256) throw new UsageError("long-rings", "rxRingSize", options.rxRingSize, "give 256 or more");
  return mvneta.probe(deps, options);
} };
export { longRings };
`);
  const { code, out, err } = await cli(["replay", CAPTURES[0]!, "--driver", path, "--design", "6.1,6.18", "--json"], ROOT);
  expect([code, err]).toEqual([0, ""]);
  expect((JSON.parse(out) as ReplayDocument).runs.map(({ design, nsPerPacket }) => [design, nsPerPacket > 0])).toEqual([["6.1", true], ["6.18", true]]);
  // Refused once, then both designs with its own ring, before anything counts.
  expect((globalThis as { longRingsProbed?: number[] }).longRingsProbed!.slice(0, 3)).toEqual([64, 512, 512]);
});

describe("--driver header-split", () => {
  test("delivers what mvneta does, under every design", async () => {
    const [ours, theirs] = [await replay(...CAPTURES), await replay(...CAPTURES, "--driver", "header-split")];
    expect([ours.driver, theirs.driver, theirs.runs.map(({ design }) => design)]).toEqual(["mvneta", "header-split", PRESET_NAMES]);
    for (const run of theirs.runs) expect([run.delivered, run.inflightAtEnd, run.reports, run.dmaMaps - run.dmaUnmaps]).toEqual([ours.runs[0]!.delivered, 0, [], 0]);
  });

  test("gives --zerocopy pages to map: payload of jumbo frames begins with one", async () => {
    const { runs: [run] } = await replay(CAPTURES[1]!, "--driver", "header-split", "--sockets", "1", "--zerocopy", "--design", "6.18");
    expect([run!.inet!.mappedBytes > 1_500_000, run!.inet!.mappedBytes % 4096]).toEqual([true, 0]);
  });
});

describe("--driver mvpp2", () => {
  test("delivers what mvneta does of frames that its buffers take, and refuses longer ones", async () => {
    const [ours, theirs] = [await replay(CAPTURES[0]!), await replay(CAPTURES[0]!, "--driver", "mvpp2")];
    for (const run of theirs.runs) expect([run.delivered, run.inflightAtEnd, run.reports, run.dmaMaps - run.dmaUnmaps]).toEqual([ours.runs[0]!.delivered, 0, [], 0]);
    expect(await cli(["replay", CAPTURES[1]!, "--driver", "mvpp2"], ROOT)).toMatchObject({ code: 2, out: "", err: expect.stringMatching(/^netmem: examples\/captures\/jumbo\.pcap: .*1 ?662.*\n$/) });
  });
});

describe("--driver split-page", () => {
  test("delivers what mvneta does, and forwards, without a pool, and says so", async () => {
    const [ours, theirs] = [await replay(...CAPTURES), await replay(...CAPTURES, "--driver", "split-page")];
    for (const run of theirs.runs) expect([run.delivered, run.pageAllocs, run.reports, run.dmaMaps - run.dmaUnmaps]).toEqual([ours.runs[0]!.delivered, 0, [], 0]);
    const { code, out } = await cli(["replay", CAPTURES[0]!, "--driver", "split-page", "--forward", "--counts-only", "--reader-lag", "0"], ROOT);
    expect([code, out.trim().split("\n").at(-1)]).toEqual([0, expect.stringMatching(/^No page was a pool's: they were the driver's own, or a user's, mapped [\d ]+ times, and no design has a part in how they come back\.$/)]);
  });
});

/** No frame is longer than Ethernet's. */
const DOWNLOAD = "examples/captures/tcp-download.pcap";

describe("--model xsk", () => {
  test.each([[[]], [["--buffers", "16"]], [["--cpu-cache"]], [["--dma", "bounce", "--buffers", "64"]]])("with %j the user is given every frame as a reader of the stack's is, and no pool a page", async (args) => {
    const plain = await replay(DOWNLOAD, "--design", "6.18");
    for (const model of ["xsk", "packages/memory-model-xsk"]) {
      const document = await replay(DOWNLOAD, "--driver", "xsk", "--model", model, "--design", "stock,6.1,6.18", ...args);
      for (const run of document.runs) expect([run.design, run.delivered, run.dropped, run.pageAllocs, run.inflightAtEnd, run.reports, run.dmaMaps - run.dmaUnmaps]).toEqual([run.design, plain.runs[0]!.delivered, 0, 0, 0, [], 0]);
    }
  });
});

describe.each(["netgpu", "devmem", "zcrx"])("--model %s", (model) => {
  test.each([[[]], [["--gro"]], [["--buffers", "16"]]])("with %j the sockets' bytes are the same, under every design that recycles", async (args) => {
    const plain = await PLAIN;
    const document = await replay(...CAPTURES, "--driver", "header-split", "--model", model, "--sockets", "2", "--rcvbuf", "20000000", ...args);
    expect([document.model, document.runs.map(({ design }) => design)]).toEqual([model, RECYCLING]);
    for (const run of document.runs) {
      expect([run.design, run.delivered.bytes, run.delivered.sha256, run.inflightAtEnd, run.reports, run.inet!.unaccounted]).toEqual([run.design, plain.runs[0]!.delivered.bytes, plain.runs[0]!.delivered.sha256, 0, [], 0]);
      expect([run.modelBuffers! > 0, run.modelBuffers! <= 1024]).toEqual([true, true]);
    }
  });

  test("never read, each of its buffers that is out is with a socket or posted; read at once, with its user or posted", async () => {
    const held = async (reader: string) => (await replay(CAPTURES[1]!, "--driver", "header-split", "--model", model, "--sockets", "2", "--reader", reader, "--design", "6.18")).runs[0]!.held ?? { by: [], posted: 0 };
    const [never, prompt] = [await held("never"), await held("prompt")];
    const pagesOf = (kind: string, { by }: typeof never): number => by.filter((holder) => holder.kind === kind).reduce((sum, { pages }) => sum + pages, 0);
    const plain = (await replay(CAPTURES[1]!, "--driver", "header-split", "--sockets", "2", "--reader", "never", "--design", "6.18")).runs[0]!.held!;
    // Two queues of 512, and pages of headers.
    expect([pagesOf("socket", never) >= pagesOf("socket", plain), pagesOf("user", never), never.posted < 1200]).toEqual([true, 0, true]);
    expect([pagesOf("socket", prompt), pagesOf("user", prompt) <= 1024, prompt.posted < 1200]).toEqual([0, true, true]);
  });

  test("its packages' folder is as good as its name", async () => {
    const [byName, byPath] = [await replay(CAPTURES[0]!, "--driver", "header-split", "--model", model, "--sockets", "1", "--design", "6.18"), await replay(CAPTURES[0]!, "--driver", "packages/driver-header-split", "--model", `packages/memory-model-${model}`, "--sockets", "1", "--design", "6.18")];
    expect(byPath.runs.map((run) => ({ ...run, nsPerPacket: 0 }))).toEqual(byName.runs.map((run) => ({ ...run, nsPerPacket: 0 })));
  });
});

test("a model of a user's own, in TypeScript, is told apart by what it exports", async () => {
  const path = write("mine.ts", `
import { NET_IOV_DMABUF, PAGE_SIZE, type NetIov, type Netmem } from "@netmem/mm/api";
import type { MemoryModel } from "@netmem/memory-model/api";
import { forEachPiece } from "@netmem/memory-model/api";
import type { ProviderPool } from "@netmem/page-pool/api";

/** One area; a user that looks at bytes while the packet has them, and so never holds any. */
const mine: MemoryModel = {
  name: "mine",
  bind: (deps, { dev, queueIndex, buffers }) => {
    const area = deps.areas.create("mine", NET_IOV_DMABUF, buffers, false);
    const provider = {
      init: (pool: ProviderPool) => area.addPool(pool),
      allocNetmems: (pool: ProviderPool) => area.takeFree(pool),
      releaseNetmem: (pool: ProviderPool, netmem: Netmem) => { area.release(pool, netmem as NetIov); return false; },
      destroy: (pool: ProviderPool) => area.removePool(pool),
      nlFill: () => ({}),
      uninstall: () => undefined,
    };
    const errno = deps.providers.openRxq(dev, queueIndex, provider);
    if (errno < 0) return errno;
    return {
      free: () => area.free(), held: () => area.held(), areas: () => [area.area],
      openStream: (socket) => ({
        read: (onBytes) => socket.readSock(0x7fffffff, (skb, offset, bytes) => forEachPiece(skb, offset, bytes, {
          linear: () => -14,
          frag: ({ netmem, offset: at }, skip, part) => { onBytes(netmem!.region, netmem!.base + at + skip, part); return part; },
        })),
        close: () => undefined,
      }),
      close: () => { deps.providers.closeRxq(dev, queueIndex, provider); area.unmap(); },
    };
  },
};
export { mine, PAGE_SIZE };
`);
  const plain = await PLAIN;
  const { runs } = await replay(...CAPTURES, "--driver", "header-split", "--model", path, "--sockets", "2", "--rcvbuf", "20000000", "--design", "6.18");
  expect([runs[0]!.delivered.sha256, runs[0]!.inflightAtEnd, runs[0]!.reports]).toEqual([plain.runs[0]!.delivered.sha256, 0, []]);
});

test.each(["@acme/netmem-nic", "acme-nic"])("a driver that is installed is named by its package, where the command is run or above: %s", async (name) => {
  write(`project/node_modules/${name}/package.json`, JSON.stringify({ name, exports: { ".": "./driver.ts" } }));
  write(`project/node_modules/${name}/driver.ts`, `import { mvneta } from ${JSON.stringify(join(ROOT, "packages/driver-mvneta/src/index.ts"))};\nexport const theirs = { ...mvneta, name: "theirs" };\n`);
  write("project/deep/here.txt", "");
  const { code, out, err } = await cli(["replay", join(ROOT, CAPTURES[0]!), "--driver", name, "--design", "6.18", "--json", "--counts-only"], join(folder, "project", "deep"));
  expect([code, err]).toEqual([0, ""]);
  const { driver, runs } = JSON.parse(out) as ReplayDocument;
  expect([driver, runs[0]!.delivered.packets]).toEqual([name, 1339]);
});

describe("a plugin that changes what it receives is a fault of its own, though nothing reports one: exit 1", () => {
  const NETGPU = JSON.stringify(join(ROOT, "packages/memory-model-netgpu/src/index.ts"));
  const model = (binding: string): string => `import { netgpu } from ${NETGPU};
export const cheat = { ...netgpu, name: "cheat", bind: (deps, options) => {
  const bound = netgpu.bind(deps, options);
  return typeof bound === "number" ? bound : ${binding};
} };
`;
  const reads = (read: string): string => model(`{ ...bound, openStream: (socket) => {
    const stream = bound.openStream(socket);
    return { read: (onBytes) => stream.read((region, offset, bytes) => ${read}), close: () => stream.close() };
  } }`);
  const driver = (poll: string): string => `import { headerSplit } from ${JSON.stringify(join(ROOT, "packages/driver-header-split/src/index.ts"))};
export const cheat = { ...headerSplit, name: "cheat", probe: (deps, options) => {
  const receive = { ...deps.receive, napiGroReceive: (napi, skb) => { ${poll} deps.receive.napiGroReceive(napi, skb); } };
  return headerSplit.probe({ ...deps, receive }, options);
} };
`;
  const MODEL = ["--driver", "header-split", "--model"];

  test.each<[string, string, readonly string[], RegExp]>([
    ["a stream whose bytes are others", reads("onBytes(region, offset + 1, bytes)"), MODEL, /^6\.18: other bytes came out \(1 300 277\) than with mvneta into pages \(1 300 277\): header-split with cheat changes, repeats or loses some$/],
    ["a stream that gives too few", reads("onBytes(region, offset, bytes - 1)"), MODEL, /^6\.18: other bytes came out \(1 \d+ \d+\) than with mvneta/],
    ["a model that loses buffers", model("{ ...bound, free: () => bound.free() - 3 }"), MODEL, /^6\.18: of the model's 1 024 buffers 3 never came back, though all is over$/],
    ["a model that has more than it was given", model("{ ...bound, free: () => bound.free() + 3 }"), MODEL, /^6\.18: of the model's 1 024 buffers 1 027 are free when all is over: some were given back twice$/],
    ["a driver that hands up frames of another protocol", driver("skb.protocol = 0x86dd;"), ["--driver"], /^6\.18: 1 339 frames refused as not IPv4, and 0 with mvneta into pages: cheat changes what it receives$/],
    ["a driver that says of wrong bytes that they are right", driver("if (skb.dataLen > 0) skb.shinfo.frags[0].netmem.region.bytes[skb.shinfo.frags[0].netmem.base + skb.shinfo.frags[0].offset] ^= 1;"), ["--driver"], /^6\.18: other bytes came out/],
  ])("%s", async (what, text, options, message) => {
    const path = write(`${what.replaceAll(/\W/g, "-")}.ts`, text);
    const { code, err } = await cli(["replay", CAPTURES[0]!, ...options, path, "--sockets", "1", "--rcvbuf", "20000000", "--design", "6.18", "--counts-only"], ROOT);
    expect([code, err.trim().split("\n").length]).toEqual([1, 1]);
    expect(err.trim().replace(/^netmem: /, "")).toMatch(message);
  });
});

test.each([["--sockets", "2", "--gro", "--udp-gro"], ["--forward", "--gro"], ["--sockets", "1", "--timing", "capture", "--packet-cost", "30000"]])("our own change nothing, whatever is merged or lost: %j %j %j", async (...args) => {
  for (const driver of ["split-page", "striding"]) {
    for (const capture of [CAPTURES[0]!, CAPTURES[2]!]) {
      const { code, err } = await cli(["replay", capture, ...args.filter((arg) => arg !== undefined), "--driver", driver, "--design", "5.14,6.18", "--counts-only"], ROOT);
      expect([code, err]).toEqual([0, ""]);
    }
  }
});

test("stock has no pointer to a page's owner: what comes back its driver puts back", async () => {
  const said = async (designs: string): Promise<string> => (await cli(["replay", CAPTURES[1]!, "--driver", "header-split", "--design", designs, "--counts-only"], ROOT)).out;
  expect(await said("stock")).toContain("\nWhat came back its driver put back itself; stock put every recycled page straight into the cache.\n");
  expect(await said("stock,6.18")).toContain("\nTo find the pages' owners 6.18 followed the pointer in the page, without a look-up; stock put");
});

test("a driver that sends on other bytes than came is found, with GRO too", async () => {
  const path = write("forwards-others.ts", `import { mvpp2 } from ${JSON.stringify(join(ROOT, "packages/driver-mvpp2/src/index.ts"))};
export const cheat = { ...mvpp2, name: "cheat", probe: (deps, options) => {
  const napiGroReceive = (napi, skb) => { if (skb.len > 100) { skb.shinfo.headRegion.bytes[skb.data + 60] ^= 1; skb.ipSummed = 1; } deps.receive.napiGroReceive(napi, skb); };
  return mvpp2.probe({ ...deps, receive: { ...deps.receive, napiGroReceive } }, options);
} };
`);
  for (const gro of [[], ["--gro"]]) {
    const { code, err } = await cli(["replay", CAPTURES[0]!, "--forward", ...gro, "--driver", path, "--design", "6.18", "--counts-only"], ROOT);
    expect([code, err]).toEqual([1, expect.stringMatching(/^netmem: 6\.18: other bytes came out \([\d ]+\) than with mvneta into pages \([\d ]+\): cheat changes, repeats or loses some\n$/)]);
  }
});

test("forwarded by a device with fewer descriptors than frames come back to back: what was not sent is counted as that, and why", async () => {
  const { code, out, err } = await cli(["replay", CAPTURES[0]!, "--forward", "--gro", "--driver", "split-page", "--design", "6.18", "--counts-only"], ROOT);
  expect([code, err]).toEqual([0, ""]);
  expect(out).toMatch(/dropped: not sent +55\n/);
  expect(out).toContain("Frames were not sent because eth1 had no descriptor left: back to back they come faster than they leave; --timing capture keeps the file's pace.");
});

const DRIVER = `const words = { sizeBytes: 16, sizeWord: 1, sizeShift: 16, addressWord: 2, firstBit: 1, lastBit: 2 };
  const driver = { name: "mine", mostRxQueues: 1, rxDescFormat: { ...words, statusWord: 0, errorBit: 4, prefixBytes: 0, fcsBytes: 0 }, txDescFormat: { ...words, commandWord: 0 }, maxFrameBytes: 9000 };
  module.exports = { mine: Object.assign(driver, { probe: PROBE }) };`;
const POLLS = `(deps, { name }) => {
  const dev = deps.registerNetdev(name, 1);
  const napi = deps.napi.netifNapiAdd(dev, { poll: () => { throw new RangeError("no such\\nbuffer"); } }, 64);
  const open = () => {
    const queue = deps.nic.rxQueues[0];
    queue.configure(deps.dma.allocCoherent(1024, 0).dmaAddr, 64, 2000);
    deps.napi.napiEnable(napi);
    deps.nic.requestIrq(0, 0, () => deps.napi.napiSchedule(napi));
    queue.addNonOccupied(64);
    queue.start();
    queue.enableIrq();
    return 0;
  };
  return { dev, open, stop: () => {} };
}`;

describe("a plugin that fails as it runs is one line, by name, and exit 2", () => {
  test.each([
    ["a driver's probe throws", "--driver", DRIVER.replace("PROBE", `() => { throw new Error("no hardware"); }`), /^FILE: threw Error: no hardware, in \S*probe$/],
    ["a driver's probe answers no interface", "--driver", DRIVER.replace("PROBE", "() => ({ dev: {} })"), /^@netmem\/machine: open of interface of driver mine = undefined: it must be a function$/],
    ["a driver's poll throws", "--driver", DRIVER.replace("PROBE", POLLS), /^FILE: threw RangeError: no such buffer, in \S*poll$/],
    ["a driver's poll answers nothing", "--driver", DRIVER.replace("PROBE", POLLS.replace(/\{ throw .*?\}/, "{}")), /^@netmem\/net-core: what the poll of NAPI instance \d+ of eth0 answered = undefined: answer how many packets it took, 0 to 64$/],
    ["a driver's poll always answers its budget", "--driver", DRIVER.replace("PROBE", POLLS.replace(/\{ throw .*?\}/, "64")), /^nothing moves after \d+ frames?: something is scheduled again and again, as a poll is that always answers its budget$/],
    ["a model's bind throws", "--model", `module.exports = { mine: { name: "mine", bind() { throw new Error("no memory"); } } };`, /^FILE: threw Error: no memory, in \S*bind$/],
    ["a model's bind answers no binding", "--model", `module.exports = { mine: { name: "mine", bind: () => ({ free: () => 1 }) } };`, /^@netmem\/machine: held of binding of memory model mine = undefined: it must be a function$/],
  ])("%s", async (what, option, text, message) => {
    const path = write(`${what.replaceAll(/\W/g, "-")}.cjs`, text);
    const { code, out, err } = await cli(["replay", CAPTURES[0]!, "--design", "6.18", "--counts-only", option, path, ...(option === "--model" ? ["--driver", "header-split", "--sockets", "1"] : [])], ROOT);
    expect([code, out]).toEqual([2, ""]);
    expect(err.trim().replace(/^netmem: /, "").replace(`${option} ${path}`, "FILE")).toMatch(message);
  });
});

test.each([
  ["a driver's poll", "--driver", DRIVER.replace("PROBE", POLLS.replace(/\{ throw .*?\}/, "{ for (;;); }"))],
  ["a driver's probe", "--driver", DRIVER.replace("PROBE", "() => { for (;;); }")],
  ["a program", "--xdp", "module.exports = () => { for (;;); };"],
])("%s that does not return is ended, in one line; a trace that was begun is nowhere", async (what, option, text) => {
  const path = write(`${what.replaceAll(/\W/g, "-")}-hangs.cjs`, text);
  const trace = join(folder, "hangs.trace");
  const { code, out, err } = await cli(["replay", CAPTURES[0]!, "--design", "6.18", "--counts-only", "--hang-limit", "1", "--trace", trace, option, path], ROOT);
  expect([code, out, err, readdirSync(folder).filter((name) => name.startsWith("hangs.trace"))]).toEqual([2, "", expect.stringMatching(/^netmem: 6\.18: hangs: what is not netmem's own has not returned for 1 second, after \d+ frames?\n$/), []]);
});

describe("what cannot be loaded is one line, and exit 2", () => {
  test.each<[readonly string[], string | RegExp]>([
    [["--driver", "e1000"], "--driver e1000: there is no such driver: choose mvneta, mvpp2, header-split, split-page, striding, xsk, or give a path, ./e1000, or a package that is installed here"],
    [["--driver", "striding", "--ring", "32", "--design", "6.18"], "--ring 32: striding does not do that: give 64 to 8192 packets"],
    [["--driver", "./none.js"], "--driver ./none.js: no such file or folder"],
    [["--driver", "mvneta", "--driver", "mvneta"], /--driver is given twice/],
    [["--model", "netgpu"], "--model netgpu delivers the bytes of TCP connections: give --sockets too"],
    [["--buffers", "5"], "--buffers are a memory model's: give --model too"],
    [["--model", "netgpu", "--sockets", "1"], "--model netgpu: mvneta does not split headers into buffers of their own, on a queue of their own; give --driver header-split"],
    [["--model", "netgpu", "--sockets", "1", "--zerocopy"], "--model and --zerocopy: a stream is read by way of the model, or by mapping pages; give one of them"],
    [["--model", "netgpu", "--sockets", "1", "--design", "stock,6.18"], "--model: under stock each packet takes its memory from its pool for good, and a model's cannot go; name other designs"],
    [["--driver", "mvneta", "--model", "xsk", "--design", "6.18"], "6.18: xsk was not bound (-EOPNOTSUPP): eth0 has no zero copy, or none at its MTU of 1500, which the longest frame asks for; --driver xsk has it up to 1500"],
    [["--driver", "xsk", "--model", "xsk", "--dma", "bounce", "--design", "6.18"], /xsk was not bound \(-(?:ENOMEM|EOPNOTSUPP)\): /],
    [["--driver", "header-split", "--model", "netgpu", "--sockets", "2", "--dma", "bounce", "--design", "6.18"], /^6\.18: netgpu was not bound \(-ENOMEM\): report dma-unreachable: .* such memory cannot be bounced, choose another --dma$/],
    [["--driver", "xsk", "--model", "xsk", "--sockets", "2"], "--model xsk delivers whole frames, which no stack sees: leave out --sockets"],
    [["--driver", "xsk", "--model", "xsk", "--tap"], "--model xsk and --tap: no packet reaches the stack; give one of them"],
    [["--driver", "header-split", "--model", "netgpu", "--sockets", "1", "--reader", "never", "--buffers", "64", "--design", "6.18"], /^6\.18: stalled after \d+ of 1339 frames: all 64 buffers of netgpu are with packets and users, and --reader never gives none back; raise --buffers, or read promptly$/],
  ])("%j", async (args, message) => {
    const { code, out, err } = await cli(["replay", CAPTURES[0]!, ...args, "--counts-only"], ROOT);
    expect([code, out]).toEqual([2, ""]);
    if (typeof message === "string") expect(err).toBe(`netmem: ${message}\n`);
    else expect(err.replace(/^netmem: /, "").trim()).toMatch(message);
  });

  test.each([
    ["empty.js", "", /exports no driver: an object with a name and probe$/],
    ["syntax.ts", "export const = 1;", /cannot be loaded: .*syntax\.ts, line 1, column 14: /],
    ["throws.js", "throw new Error('no\\nluck');", /cannot be loaded: no luck$/],
    ["implementation.js", "import { createMm } from '@netmem/mm'; export const driver = { probe: createMm };", /cannot be loaded: it imports @netmem\/mm: a plugin sees headers only, @netmem\/kernel\/api, /],
    ["half.js", "export const driver = { name: 'half', mostRxQueues: 1, probe: () => null };", /half\.js: @netmem\/machine: rxDescFormat of driver half = undefined: it must be an object$/],
    ["formless.js", "export const driver = { name: 'formless', mostRxQueues: 1, rxDescFormat: {}, txDescFormat: {}, maxFrameBytes: 1514, probe: () => null };", /@netmem\/machine: sizeBytes of rxDescFormat of driver formless = undefined: it must be a number$/],
    ["queueless.js", "export const driver = { name: 'queueless', mostRxQueues: 0, rxDescFormat: {}, txDescFormat: {}, maxFrameBytes: 1514, probe: () => null };", /@netmem\/machine: mostRxQueues of driver queueless = 0: give 1 to 1024$/],
    ["nameless.js", "export const driver = { name: '', mostRxQueues: 1, rxDescFormat: {}, txDescFormat: {}, maxFrameBytes: 1514, probe: () => null };", /@netmem\/machine: name of driver = "": give one: devices and messages are called after it$/],
    ["endless.js", "export const driver = { name: 'endless', mostRxQueues: 1, rxDescFormat: {}, txDescFormat: {}, maxFrameBytes: 1e12, probe: () => null };", /@netmem\/machine: maxFrameBytes of driver endless = 1000000000000: give 60 to 1048576$/],
    ["frameless.js", "export const driver = { name: 'frameless', mostRxQueues: 1, rxDescFormat: {}, txDescFormat: {}, maxFrameBytes: -5, probe: () => null };", /@netmem\/machine: maxFrameBytes of driver frameless = -5: give 60 to 1048576$/],
    ["package-without/package.json", "{ \"main\": \"dist/index.js\" }", /nothing that its package\.json names is there: build it first$/],
    ["broken/package.json", "{", /its package\.json cannot be read: /],
  ])("a driver from %s", async (name, text, message) => {
    const file = write(name, text);
    const path = name.endsWith("package.json") ? join(file, "..") : file;
    const { code, out, err } = await cli(["replay", CAPTURES[0]!, "--driver", path], ROOT);
    expect([code, out, err.split("\n").length]).toEqual([2, "", 2]);
    expect(err.trim()).toMatch(message);
  });

  test("a folder without package.json", async () => {
    mkdirSync(join(folder, "bare"), { recursive: true });
    const { err } = await cli(["replay", CAPTURES[0]!, "--driver", join(folder, "bare")], ROOT);
    expect(err).toBe(`netmem: --driver ${join(folder, "bare")}: a folder without package.json; name a package, or a file\n`);
  });
});

import { E2BIG, EINVAL, ENOMEM, TASK_AGAIN, TASK_SLEEP, UsageError } from "@netmem/kernel/api";
import { GFP_ATOMIC, NUMA_NO_NODE, PAGE_SIZE, __GFP_NOWARN, type Page, type PayloadRegion } from "@netmem/mm/api";
import type { PagePool } from "@netmem/page-pool/api";
import {
  ETH_HLEN, MEM_TYPE_PAGE_POOL, NAPI_POLL_WEIGHT, SKB_SHARED_INFO_BYTES, XDP_DROP, XDP_PACKET_HEADROOM, XDP_PASS, XDP_REDIRECT, XDP_TX, xdpMetalenInvalid,
  type NetDevice, type XdpBuff, type XdpFrame, type XdpProg,
} from "@netmem/xdp/api";
import type { Machine } from "../machine.ts";

/** Two copies of the packet's context lie at the start of each page. @kernel sizeof(struct xdp_page_head) (net/bpf/test_run.c) */
const PAGE_HEAD_BYTES = 112;
/** @kernel TEST_XDP_FRAME_SIZE */
const TEST_XDP_FRAME_SIZE: number = PAGE_SIZE - PAGE_HEAD_BYTES;
/** Largest packet; metadata lies in its headroom. */
export const LIVE_FRAME_MAX_BYTES: number = TEST_XDP_FRAME_SIZE - XDP_PACKET_HEADROOM - SKB_SHARED_INFO_BYTES;
/** @kernel TEST_XDP_MAX_BATCH */
export const TEST_XDP_MAX_BATCH = 256;

export interface LiveFramesOptions {
  readonly prog: XdpProg;
  /** The device that the packets pretend to come from. */
  readonly dev: NetDevice;
  /** The packet, from its Ethernet header on; copied into each page when the pool takes it, and not again: what a program changes stays changed. */
  readonly data: Uint8Array;
  /** Metadata in front of it, 0 to 252 bytes, before 6.8 to 32. */
  readonly meta?: Uint8Array;
  /** Packets; default 1. */
  readonly repeat?: number;
  /** Packets a batch, 1 to 256; default 64. */
  readonly batchSize?: number;
  /** CPU of the process that asks; default 0. */
  readonly cpu?: number;
}

/** What became of the packets. */
export interface LiveFramesResult {
  /** 0; -EINVAL (packet too short or too long, metadata), -E2BIG (batch), -ENOMEM. */
  readonly errno: number;
  /** Packets that the program saw. */
  readonly packets: number;
  readonly pass: number;
  readonly drop: number;
  readonly tx: number;
  readonly redirect: number;
  /** XDP_TX and XDP_REDIRECT that led nowhere; counted there, too. */
  readonly redirectErrors: number;
  /** Where its pages came from; destroyed, and freed once all of them are back. Null if nothing was begun. */
  readonly pool: PagePool | null;
}

/**
 * BPF_PROG_TEST_RUN with live frames: a program is run on packets of a pool of its own, in batches, and what it says is done: dropped,
 * handed to the stack, sent back out of its device, redirected. Asked for by a process, whose slices are batches; other CPUs go on meanwhile.
 * @kernel bpf_test_run_xdp_live (net/bpf/test_run.c)
 */
export function testRunXdpLive(machine: Machine, options: LiveFramesOptions): LiveFramesResult {
  const run = new LiveRun(machine, options);
  const errno = run.setUp();
  if (errno === 0) run.runToEnd();
  return run.result(errno);
}

class LiveRun {
  readonly #machine: Machine;
  readonly #options: LiveFramesOptions;
  readonly #repeat: number;
  readonly #batchSize: number;
  readonly #buff: XdpBuff;
  readonly #metaBytes: number;
  readonly #packet: PayloadRegion;
  readonly #passed: (XdpFrame | null)[] = [];
  readonly #counts = { packets: 0, pass: 0, drop: 0, tx: 0, redirect: 0, redirectErrors: 0 };
  #pool: PagePool | null = null;
  #errno = 0;

  constructor(machine: Machine, options: LiveFramesOptions) {
    const { data, meta = new Uint8Array(0), repeat = 1, batchSize = NAPI_POLL_WEIGHT } = options;
    for (const [name, value] of [["repeat", repeat], ["batchSize", batchSize]] as const) {
      if (!Number.isInteger(value) || value < 0) throw new UsageError("machine", `live frames ${name}`, value, "give a whole number, 0 or more");
    }
    const { cpu = 0 } = options;
    if (!Number.isInteger(cpu) || cpu < 0 || cpu >= machine.kernel.nrCpus) throw new UsageError("machine", "live frames cpu", cpu, `this machine has CPUs 0 to ${machine.kernel.nrCpus - 1}`);
    this.#machine = machine;
    this.#options = options;
    this.#repeat = repeat === 0 ? 1 : repeat;
    this.#batchSize = batchSize === 0 ? NAPI_POLL_WEIGHT : batchSize;
    const { xdp, mm } = machine;
    this.#buff = xdp.structs.createXdpBuff(xdp.structs.createXdpRxqInfo());
    this.#metaBytes = meta.length;
    const bytes = new Uint8Array(meta.length + data.length);
    bytes.set(meta);
    bytes.set(data, meta.length);
    this.#packet = mm.payload.adoptRegion("live frame", bytes, true);
  }

  /** @kernel xdp_test_run_setup */
  setUp(): number {
    const { pagePools, xdp, mm } = this.#machine;
    const packetBytes = this.#packet.bytes.length;
    if (this.#batchSize > TEST_XDP_MAX_BATCH) return -E2BIG;
    if (packetBytes - this.#metaBytes < ETH_HLEN || packetBytes - this.#metaBytes > LIVE_FRAME_MAX_BYTES || xdpMetalenInvalid(this.#metaBytes, this.#machine.preset.xdp.metalenMax)) return -EINVAL;
    const { rxq } = this.#buff;
    const pool = pagePools.create({
      flags: 0, order: 0, poolSize: this.#batchSize, nid: NUMA_NO_NODE, dev: null, napi: null, dmaDir: 0, maxLen: 0, offset: 0, netdev: null,
      initCallback: (netmem) => void mm.payload.copy(netmem.region, netmem.base + PAGE_HEAD_BYTES + XDP_PACKET_HEADROOM - this.#metaBytes, this.#packet, 0, packetBytes),
    });
    if (typeof pool === "number") return pool;
    const memId = xdp.registry.registerMemModel(MEM_TYPE_PAGE_POOL, pool);
    if (memId < 0) {
      pool.destroy();
      return memId;
    }
    // A queue that is not the device's, with the pool for its memory.
    xdp.rxqs.xdpRxqInfoReg(rxq, this.#options.dev, 0);
    rxq.mem.type = MEM_TYPE_PAGE_POOL;
    rxq.mem.id = memId;
    this.#pool = pool;
    return 0;
  }

  runToEnd(): void {
    const { scheduler } = this.#machine.kernel;
    let done = false;
    const task = scheduler.spawn({
      name: "bpf_prog_test_run", cpu: this.#options.cpu ?? 0,
      run: () => {
        done = !this.#batch();
        if (done) this.#tearDown();
        return done ? TASK_SLEEP : TASK_AGAIN;
      },
    });
    scheduler.runUntil(() => done);
    scheduler.remove(task);
  }

  result(errno: number): LiveFramesResult {
    return { errno: errno < 0 ? errno : this.#errno, ...this.#counts, pool: this.#pool };
  }

  /** False: that was the last. @kernel xdp_test_run_batch */
  #batch(): boolean {
    const { kernel, xdp } = this.#machine;
    const { prog, dev } = this.#options;
    const { xdpReturn } = xdp;
    const size = Math.min(this.#repeat - this.#counts.packets, this.#batchSize);
    kernel.softirqs.localBhDisable();
    xdpReturn.xdpSetReturnFrameNoDirect();
    let passed = 0;
    let redirected = false;
    for (let i = 0; i < size; i++) {
      const page = this.#pool!.allocPages(GFP_ATOMIC | __GFP_NOWARN);
      if (page === null) {
        this.#errno = -ENOMEM;
        break;
      }
      this.#counts.packets++;
      const buff = this.#prepare(page);
      const act = xdp.programs.bpfProgRunXdp(prog, buff);
      switch (act) {
        case XDP_TX: case XDP_REDIRECT:
          if (act === XDP_TX) xdp.redirect.redirectBack(dev.ifindex);
          this.#counts[act === XDP_TX ? "tx" : "redirect"]++;
          redirected = true;
          if (xdp.redirect.xdpDoRedirect(dev, buff, prog) === 0) continue;
          this.#counts.redirectErrors++;
          xdpReturn.xdpReturnBuff(buff);
          break;
        case XDP_PASS: {
          const frame = xdp.buffs.xdpConvertBuffToFrame(buff)!;
          frame.devRx = dev;
          this.#passed[passed++] = frame;
          this.#counts.pass++;
          break;
        }
        default:
          // XDP_ABORTED is no verdict that the test run knows.
          if (act !== XDP_DROP) xdp.programs.bpfWarnInvalidXdpAction(null, prog, act);
          this.#counts.drop++;
          xdpReturn.xdpReturnBuff(buff);
      }
    }
    if (redirected) xdp.redirect.xdpDoFlush();
    if (passed > 0 && this.#machine.net.frameReceiver.receiveFrames(this.#passed, passed) > 0) this.#errno = -ENOMEM;
    xdpReturn.xdpClearReturnFrameNoDirect();
    kernel.softirqs.localBhEnable();
    return this.#errno === 0 && this.#counts.packets < this.#repeat;
  }

  /** The packet as it was; its bytes as the last program left them. @kernel reset_ctx */
  #prepare(page: Page): XdpBuff {
    const { buffs } = this.#machine.xdp;
    const buff = this.#buff;
    buffs.xdpInitBuff(buff, TEST_XDP_FRAME_SIZE);
    buffs.xdpPrepareBuff(buff, page, PAGE_HEAD_BYTES, XDP_PACKET_HEADROOM, this.#packet.bytes.length - this.#metaBytes, true);
    buff.dataMeta = buff.data - this.#metaBytes;
    return buff;
  }

  /** @kernel xdp_test_run_teardown */
  #tearDown(): void {
    this.#machine.xdp.rxqs.xdpRxqInfoUnreg(this.#buff.rxq);
    this.#pool!.destroy();
  }
}

import type { Kernel } from "@netmem/kernel/api";
import type { Mm } from "@netmem/mm/api";
import type { FragSource, Xdp } from "@netmem/xdp/api";
import type { NetCore, PacketHolder, SkbProbe } from "./api/index.ts";
import { CompletionQueue } from "./completion.ts";
import { DeferredFree } from "./defer.ts";
import { DropReasonTable } from "./drop-reasons.ts";
import { SkbEdits } from "./edit.ts";
import { FragRefs } from "./frag-refs.ts";
import { GenericXdpPath } from "./generic-xdp.ts";
import { SkbHeads } from "./heads.ts";
import { SkbLives } from "./lifetime.ts";
import { SkbMerges } from "./merge.ts";
import { IpInput } from "./inet/ip-input.ts";
import { InetGso } from "./inet/inet-gso.ts";
import { TcpZerocopy } from "./inet/tcp-zerocopy.ts";
import { Backlog } from "./dev/backlog.ts";
import { BudgetlessPolls } from "./dev/netpoll.ts";
import { NapiLists } from "./dev/napi.ts";
import { Gro } from "./gro/gro.ts";
import { InetGro } from "./gro/inet-gro.ts";
import { TcpGro } from "./gro/tcp-gro.ts";
import { UdpGro } from "./gro/udp-gro.ts";
import { NetDevices } from "./dev/net-devices.ts";
import { ReceivePath } from "./receive.ts";
import { RecycleMarks } from "./recycle.ts";
import { SkbRelease } from "./release.ts";
import type { NetCoreRules } from "./rules.ts";
import { Segmentation } from "./segment.ts";
import { SocketTable } from "./sockets.ts";
import { StackPort } from "./stack-port.ts";
import { StructCache } from "./struct-cache.ts";
import { PacketTaps } from "./taps.ts";
import { TransmitPath } from "./transmit.ts";
import { XdpAttachments } from "./xdp-attach.ts";
import { XdpConversions } from "./xdp-skbs.ts";
import { SkbUserMemory } from "./zerocopy.ts";

export interface NetCoreDeps {
  readonly kernel: Kernel;
  readonly mm: Pick<Mm, "pages" | "slab" | "payload" | "faults" | "frags" | "userMappings">;
  readonly xdp: Xdp;
  /** By CPU, where packets are copied to that a program must be able to write; none before 6.9. @kernel system_page_pool (net/core/dev.c) */
  readonly systemPages?: readonly FragSource[];
  readonly rules: NetCoreRules;
  /** Simulated nanoseconds a received packet costs its CPU; 0 to leave time alone. */
  readonly packetCostNs: number;
  readonly probe: SkbProbe | null;
}

export function createNetCore(deps: NetCoreDeps): NetCore {
  const { kernel, mm, xdp, rules } = deps;
  const { structs, netmemReturn, notifiers } = xdp;
  const { context, nrCpus, reports } = kernel;
  const { pages, payload } = mm;
  const systemPages = deps.systemPages ?? [];
  const cache = new StructCache(context, nrCpus, rules);
  const refs = new FragRefs(pages, netmemReturn, rules);
  const dropReasons = new DropReasonTable(reports);
  const heads = new SkbHeads(mm.slab, rules);
  const release = new SkbRelease({ cache, refs, heads, context, rules, reasons: dropReasons, reports, probe: deps.probe });
  const deferred = new DeferredFree(kernel, rules);
  const completions = new CompletionQueue(kernel, release);
  const lives = new SkbLives({
    cache, release, heads, pages, frags: mm.frags, context, nrCpus, rules, failStructs: mm.faults.failFunction("skbuffAlloc"), reports,
    deferred, completions, softirqs: kernel.softirqs,
  });
  const edit = new SkbEdits({ cache, release, refs, heads, lives, payload, rules, reports });
  const zerocopy = new SkbUserMemory({ edit, refs, pages, payload, reports });
  lives.useZerocopy(zerocopy);
  edit.useZerocopy(zerocopy);
  const segmentation = new Segmentation({ lives, edit, refs, release, zerocopy, payload, reports });
  const devices = new NetDevices(structs, notifiers, kernel.reports);
  const recycle = new RecycleMarks(netmemReturn);
  const taps = new PacketTaps(lives, zerocopy);
  const receive = new ReceivePath(lives, edit, zerocopy, taps, deps.probe);
  const transmit = new TransmitPath(lives, edit, payload, taps, kernel.clock);
  const sockets = new SocketTable(lives, edit, kernel.clock);

  const failFrameStructs = mm.faults.failFunction("receiveFrames");
  const conversions = new XdpConversions({ xdp, lives, edit, recycle, payload: mm.payload, context, systemPages, framesRecycle: rules.framesRecycle, framesTakeNapiStructs: rules.framesTakeNapiStructs, failStructs: failFrameStructs });
  const generic = new GenericXdpPath({ xdp, lives, edit, conversions, transmit, context, systemPages });
  receive.useGenericXdp(generic);
  const merge = new SkbMerges(edit, refs, zerocopy, segmentation, rules, reports);
  const gso = new InetGso({ edit, merge, lifetime: lives, payload });
  transmit.useGso(gso);
  const inet = new IpInput({
    lifetime: lives, edit, merge, gso, payload, pages, transmit, clock: kernel.clock, context: kernel.context, timers: kernel.timers, rcu: kernel.rcu, softirqs: kernel.softirqs,
    zerocopy: new TcpZerocopy(mm.userMappings), rules,
  });
  const inetGro = new InetGro(payload, edit, new TcpGro(payload, edit, merge, rules), new UdpGro(payload, edit, merge, inet.udp, rules));
  const gro = new Gro({ kernel, inet: inetGro, edit, lifetime: lives, up: receive, probe: deps.probe });
  receive.useGro(gro);
  const napi = new NapiLists({ kernel, structs, redirect: xdp.redirect, deferred, release, gro, rules, packetCostNs: deps.packetCostNs, probe: deps.probe });
  const backlog = new Backlog({ kernel, napi, loopback: devices.loopback, up: receive, lifetime: lives });
  receive.useBacklog(backlog);
  const port = new StackPort({ xdp, lives, edit, conversions, generic, receive, gro, transmit, failStructs: failFrameStructs });
  xdp.connectStack(port, port);
  return {
    lifetime: lives,
    recycle,
    edit,
    merge,
    zerocopy,
    dropReasons,
    napi,
    netpoll: new BudgetlessPolls({ kernel, instancesOf: (dev) => napi.instancesOf(dev), completions, probe: deps.probe }),
    receive,
    sockets,
    inet,
    transmit,
    xdpSkbs: conversions,
    genericXdp: generic,
    xdpAttachment: new XdpAttachments(),
    frameReceiver: port,
    holders: () => {
      const all: PacketHolder[] = [];
      for (const part of [sockets, inet, backlog, napi, port, deferred]) part.addHolders(all);
      return all;
    },
    registerNetdev: (name, rxQueueCount) => devices.register(name, rxQueueCount),
    devSetMtu: (dev, mtu) => devices.setMtu(dev, mtu),
    unregisterNetdev: (dev) => {
      devices.unregister(dev, () => backlog.flush(dev));
      inet.forget(dev);
    },
    loopback: devices.loopback,
  };
}

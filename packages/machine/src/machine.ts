import { NET_RX_SOFTIRQ, NSEC_PER_SEC, UsageError, type Kernel } from "@netmem/kernel/api";
import type { DmaDevice, DmaDeviceOptions, Mm } from "@netmem/mm/api";
import type { NetCore } from "@netmem/net-core/api";
import type { PagePool, PagePools } from "@netmem/page-pool/api";
import { ETH_HLEN, ETHTOOL_TCP_DATA_SPLIT_ENABLED, type NetDevice, type Xdp } from "@netmem/xdp/api";
import { ModelledNic, createTxRings } from "@netmem/driver";
import { createProvidedAreas } from "@netmem/memory-model";
import type { MemoryBinding, MemoryModel, MemoryModelDeps } from "@netmem/memory-model/api";
import type { DriverOptions, Link, LinkDeps, LinkDriver, LinkOptions, NetDriver, NetInterface, NicHardware, NicMiddleware, NicWire } from "@netmem/driver/api";
import { checkBinding, checkDriver, checkInterface, checkMemoryModel } from "./plugins.ts";
import type { Preset } from "./presets.ts";
import type { MachineProbes } from "./tracing.ts";

export interface MachineParts {
  readonly preset: Preset;
  readonly kernel: Kernel;
  readonly mm: Mm;
  readonly xdp: Xdp;
  readonly pagePools: PagePools;
  readonly systemPools: readonly PagePool[];
  readonly net: NetCore;
  readonly probes: Partial<MachineProbes> | null;
}

export interface DeviceOptions extends Partial<DriverOptions> {
  /** Model a device that needs cache maintenance around each hand-over, as the series' boards do. Default true. */
  readonly nonCoherent?: boolean;
  /** How it reaches memory: IOMMU, address mask, bounce buffers. Default: behind a strict IOMMU with room for all of memory. */
  readonly dma?: Omit<DmaDeviceOptions, "name" | "coherent">;
  /** What its driver is given in the NIC's place: a tracer (`traceNic`), or what makes a NIC worse than it is. Default: the NIC. */
  readonly middleware?: NicMiddleware;
}

/** A NIC with its driver bound. */
export interface Device {
  readonly nic: NicHardware & NicWire;
  readonly dma: DmaDevice;
  readonly netif: NetInterface;
}

/** A booted machine: its layers' services, and its devices. */
export class Machine {
  readonly preset: Preset;
  readonly kernel: Kernel;
  readonly mm: Mm;
  readonly xdp: Xdp;
  readonly pagePools: PagePools;
  /** The stack's own, by CPU; none before 6.9. They live as long as the machine. */
  readonly systemPools: readonly PagePool[];
  readonly net: NetCore;
  readonly #devices: Device[] = [];
  readonly #links: Link[] = [];
  readonly #probes: Partial<MachineProbes> | null;

  constructor(parts: MachineParts) {
    this.preset = parts.preset;
    this.kernel = parts.kernel;
    this.mm = parts.mm;
    this.xdp = parts.xdp;
    this.pagePools = parts.pagePools;
    this.systemPools = parts.systemPools;
    this.net = parts.net;
    this.#probes = parts.probes;
  }

  get devices(): readonly Device[] {
    return this.#devices;
  }

  /** Of all devices and links. */
  interfaces(): readonly NetInterface[] {
    return [...this.#devices.map(({ netif }) => netif), ...this.#links.flatMap(({ ends }) => ends)];
  }

  /** Plugs in a NIC of the driver's kind and binds the driver. The interface is down. */
  attach(driver: NetDriver, options: DeviceOptions = {}): Device {
    checkDriver(driver);
    const name = options.name ?? `eth${this.#devices.length}`;
    if (this.interfaces().some(({ dev }) => dev.name === name)) throw new UsageError("machine", "device name", name, "another device has it");
    const { dma, bus } = this.mm.attachDevice({
      name,
      coherent: !(options.nonCoherent ?? true),
      ...options.dma,
    });
    const { rxDescFormat, txDescFormat, mostRxQueues } = driver;
    const rxQueueCount = options.rxQueueCount ?? 1;
    if (!Number.isInteger(rxQueueCount) || rxQueueCount < 1 || rxQueueCount > mostRxQueues) throw new UsageError("machine", `rxQueueCount of ${name}`, rxQueueCount, `${driver.name} has 1 to ${mostRxQueues} receive queues`);
    const nic = new ModelledNic(this.kernel, bus, { name, rxQueueCount, rxDescFormat, txDescFormat, probe: this.#probes?.nic ?? null, payload: this.mm.payload, faults: this.mm.faults });
    const hardware = options.middleware === undefined ? nic : options.middleware(nic);
    const deps = this.#linkDeps();
    const txRings = createTxRings({ dma, hw: hardware.txQueues[0]!, format: txDescFormat, lifetime: deps.lifetime, xdpReturn: deps.xdpReturn, xdpStructs: deps.xdpStructs });
    const netif = driver.probe(
      { ...deps, registerNetdev: (devName, queues) => this.#registerNic(driver, devName, queues), dma, nic: hardware, txRings },
      { name, rxRingSize: options.rxRingSize ?? 512, rxQueueCount, cpu: options.cpu ?? 0, earlyDrop: options.earlyDrop ?? false },
    );
    checkInterface(driver, netif);
    const device: Device = { nic, dma, netif };
    this.#devices.push(device);
    return device;
  }

  /** A pair of devices without hardware, both down. Throws for a name that a device has already. */
  newlink<L extends Link>(driver: LinkDriver<L>, options: Partial<LinkOptions> = {}): L {
    const first = 2 * this.#links.length;
    const names = options.names ?? [`${driver.name}${first}`, `${driver.name}${first + 1}`];
    for (const [i, name] of names.entries()) if (names.indexOf(name) !== i || this.interfaces().some(({ dev }) => dev.name === name)) throw new UsageError("machine", "device name", name, "another device has it");
    const link = driver.newlink(this.#linkDeps(), { names, rxQueueCount: options.rxQueueCount ?? 1 });
    this.#links.push(link);
    return link;
  }

  /** Of what its probe does not say otherwise: as long as its frames may be, in rings that were made for it. */
  #registerNic(driver: NetDriver, name: string, rxQueueCount: number): NetDevice {
    const dev = this.net.registerNetdev(name, rxQueueCount);
    dev.maxMtu = driver.maxFrameBytes - ETH_HLEN;
    dev.mtuNeedsDown = true;
    return dev;
  }

  #linkDeps(): LinkDeps {
    const { kernel, mm, net, xdp, pagePools } = this;
    return {
      kernel, pagePools, pages: mm.pages,
      xdpStructs: xdp.structs, xdpRxqs: xdp.rxqs, xdpBuffs: xdp.buffs, xdpReturn: xdp.xdpReturn, xdpPrograms: xdp.programs, xdpRedirect: xdp.redirect, xdpFeatures: xdp.features,
      lifetime: net.lifetime, recycle: net.recycle, edit: net.edit, napi: net.napi, receive: net.receive, transmit: net.transmit, xdpSkbs: net.xdpSkbs,
      registerNetdev: net.registerNetdev, unregisterNetdev: net.unregisterNetdev,
    };
  }

  /**
   * Binds a memory model to a queue of a device that is up: payload of TCP goes into `buffers` pages of the model's, for which the device splits headers from then on, or, of a model that delivers frames, whole frames do. A negative errno of the binding otherwise. Throws for a model that lacks a member.
   */
  bindMemoryModel(model: MemoryModel, { netif }: Device, queueIndex: number, buffers: number): MemoryBinding | number {
    checkMemoryModel(model);
    const { dev } = netif;
    const before = dev.hdsConfig;
    if (model.delivers !== "frames") dev.hdsConfig = ETHTOOL_TCP_DATA_SPLIT_ENABLED;
    const binding = model.bind(this.memoryModelDeps(), { dev, queueIndex, buffers });
    if (typeof binding === "number") dev.hdsConfig = before;
    else checkBinding(model, binding);
    return binding;
  }

  /** What a memory model of this machine is given: for who talks to its parts, and not by `bindMemoryModel`. */
  memoryModelDeps(): MemoryModelDeps {
    const { kernel, mm, pagePools, net, xdp } = this;
    return {
      kernel, payload: mm.payload, pages: mm.pages, areas: createProvidedAreas(mm), providers: pagePools.providers, edit: net.edit,
      afXdp: xdp.afXdp, xdpMaps: xdp.maps, xdpPrograms: xdp.programs, xdpAttachment: net.xdpAttachment,
    };
  }

  /** A receive softirq on every CPU: what a quiet CPU still has to free, because another CPU read it, is freed now. */
  flushDeferred(): void {
    for (let cpu = 0; cpu < this.kernel.nrCpus; cpu++) this.kernel.softirqs.raiseSoftirq(cpu, NET_RX_SOFTIRQ);
    this.kernel.scheduler.runFor(0);
  }

  /**
   * Waits for what only a grace period ends, takes every interface down, flushes what waits on per-CPU lists, gives teardown workers up to `graceNs` to see the
   * last pages home, and unbinds the drivers, which report mappings left behind.
   */
  shutdown(graceNs: number = 5 * NSEC_PER_SEC): void {
    this.kernel.rcu.rcuBarrier();
    for (const device of this.#devices) device.netif.stop();
    for (const { ends } of this.#links) for (const end of ends) end.stop();
    this.flushDeferred();
    if (this.pagePools.pools().some((pool) => pool.destroyCnt > 0)) this.kernel.scheduler.runFor(graceNs);
    for (const device of this.#devices) device.dma.unbind();
    this.mm.slab.shrink();
  }
}

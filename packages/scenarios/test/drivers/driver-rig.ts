import type { NetDriver } from "@netmem/driver/api";
import { Wire, createMachine, type Device, type Machine, type PresetName, type WireFrame } from "@netmem/machine";
import type { PayloadRegion } from "@netmem/mm/api";
import type { SkBuff } from "@netmem/net-core/api";
import { warmHeads } from "@netmem/testkit";
import { ETH_HLEN } from "@netmem/xdp/api";

export interface DriverRigOptions {
  readonly preset?: PresetName;
  readonly queues?: number;
  readonly ring?: number;
  /** Default 65536: any frame. */
  readonly mtu?: number;
  readonly seed?: number;
  /** Default 8192. */
  readonly pages?: number;
  /** Of the wire. */
  readonly bytes?: number;
}

export interface DriverRig {
  readonly machine: Machine;
  readonly device: Device;
  /** Until nothing is left to do. */
  readonly send: (frames: readonly WireFrame[]) => void;
  /** What is left once everything has been taken down. */
  readonly end: () => typeof NOTHING_LEFT;
}

export const NOTHING_LEFT: { readonly live: number; readonly inflight: number; readonly reports: readonly unknown[]; readonly maps: number; readonly pagesGone: number } = { live: 0, inflight: 0, reports: [], maps: 0, pagesGone: 0 };

export function wire(frames: readonly Uint8Array[]): WireFrame[] {
  return frames.map((bytes) => ({ bytes, offset: 0, lengthBytes: bytes.length, arrivalNs: 0 }));
}

/** A device of the driver, up, in a machine of its own. */
export function driverRig(driver: NetDriver, options: DriverRigOptions = {}): DriverRig {
  const machine = createMachine({ preset: options.preset ?? "6.18", seed: options.seed ?? 1, nrPages: options.pages ?? 8192, extraBytes: options.bytes ?? 1 << 23 });
  warmHeads(machine);
  const freePages = machine.mm.pages.freePages();
  const device = machine.attach(driver, { rxRingSize: options.ring ?? 64, rxQueueCount: options.queues ?? 1 });
  device.netif.dev.mtu = options.mtu ?? 65_536;
  if (device.netif.open() !== 0) throw new Error("open failed");
  return {
    machine, device,
    send: (frames) => {
      new Wire(machine.kernel, machine.mm.payload, frames, "back-to-back").connect(device.nic);
      while (machine.kernel.scheduler.step());
    },
    end: () => {
      machine.shutdown();
      warmHeads(machine);
      return {
        live: machine.net.lifetime.stats.live, inflight: machine.pagePools.pools().filter(({ system }) => !system).reduce((sum, pool) => sum + pool.inflight(), 0),
        reports: machine.kernel.reports.counts(), maps: machine.devices.reduce((sum, { dma }) => sum + dma.stats.maps - dma.stats.unmaps, 0),
        pagesGone: freePages - machine.mm.pages.freePages(),
      };
    },
  };
}

/** By machine: where frames are copied to, to be looked at. */
const scratches = new WeakMap<Machine, PayloadRegion>();

/** The whole frame, whose Ethernet header has been pulled. */
export function frameOf(machine: Machine, skb: SkBuff): string {
  let scratch = scratches.get(machine);
  if (scratch === undefined) {
    scratch = machine.mm.payload.adoptRegion("scratch", new Uint8Array(1 << 17), true);
    scratches.set(machine, scratch);
  }
  machine.net.edit.skbCopyBits(skb, -ETH_HLEN, scratch, 0, skb.len + ETH_HLEN);
  return asText(scratch.bytes.subarray(0, skb.len + ETH_HLEN));
}

/** A character for each byte: what is compared often is compared at once. */
export function asText(bytes: Uint8Array): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString("latin1");
}

import { createMachine, PRESET_NAMES, Reader, USER_BUFFER_BYTES, Wire, wireBytes, type Device, type DeviceOptions, type FreeOrder, type Machine, type MachineOptions, type PresetName, type WireFrame, type WireTiming } from "@netmem/machine";
import type { NetDriver } from "@netmem/driver/api";
import { mvneta } from "@netmem/driver-mvneta";
import type { PagePool } from "@netmem/page-pool/api";
import { testFrame } from "@netmem/testkit";

export interface TrafficOptions extends MachineOptions {
  /** Default mvneta. */
  readonly driver?: NetDriver;
  readonly timing?: WireTiming;
  readonly lag?: number;
  readonly tap?: boolean;
  readonly expand?: boolean;
  readonly freeOrder?: FreeOrder;
  readonly earlyDrop?: boolean;
  readonly rxRingSize?: number;
  /** Of the memory that is read into. */
  readonly userBytes?: number;
  readonly readerCpu?: number;
  /** CPU of the NIC's interrupt. */
  readonly nicCpu?: number;
  /** How the NIC reaches memory. */
  readonly attach?: Pick<DeviceOptions, "nonCoherent" | "dma">;
}

export interface TrafficRun {
  readonly machine: Machine;
  readonly device: Device;
  readonly pool: PagePool;
  readonly reader: Reader;
  readonly wire: Wire;
  /** Everything that the reader got, in order. */
  readonly received: () => Uint8Array;
  /** Steps until idle, drains, steps until idle; `each` after every step. */
  readonly run: (each?: () => void) => void;
}

/** Frames of the given lengths, `gapNs` apart, with bytes of their own. */
export function frames(lengths: readonly number[], gapNs: number = 1000): WireFrame[] {
  return lengths.map((lengthBytes, i) => ({ bytes: testFrame(lengthBytes, i + 1), offset: 0, lengthBytes, arrivalNs: i * gapNs }));
}

export function concatenated(sent: readonly WireFrame[]): Uint8Array {
  const bytes = new Uint8Array(sent.reduce((sum, frame) => sum + frame.lengthBytes, 0));
  let at = 0;
  for (const frame of sent) {
    bytes.set(frame.bytes.subarray(frame.offset, frame.offset + frame.lengthBytes), at);
    at += frame.lengthBytes;
  }
  return bytes;
}

/** A machine with a NIC, a wire with the frames, and a reader, ready to run. */
export function traffic(sent: readonly WireFrame[], options: TrafficOptions = {}): TrafficRun {
  const machine = createMachine({ nrPages: 4096, ...options, extraBytes: wireBytes(sent) + USER_BUFFER_BYTES });
  const { kernel, net, mm } = machine;
  const wire = new Wire(kernel, mm.payload, sent, options.timing ?? "back-to-back");
  const chunks: Uint8Array[] = [];
  const reader = new Reader(kernel, net, mm.payload.addRegion("user", options.userBytes ?? USER_BUFFER_BYTES, true), {
    cpu: options.readerCpu ?? 1,
    lag: options.lag ?? 0,
    tap: options.tap ?? false,
    expand: options.expand ?? false,
    freeOrder: options.freeOrder ?? "original",
    onBytes: (bytes) => chunks.push(bytes.slice()),
  });
  const device = machine.attach(options.driver ?? mvneta, { rxRingSize: options.rxRingSize ?? 64, earlyDrop: options.earlyDrop ?? false, cpu: options.nicCpu ?? 0, ...options.attach });
  if (device.netif.open() !== 0) throw new Error("open failed");
  const pool = machine.pagePools.pools().find(({ system }) => !system)!;
  const idle = (each?: () => void): void => {
    while (kernel.scheduler.step()) each?.();
  };
  return {
    machine, device, pool, reader, wire,
    received: () => {
      const all = new Uint8Array(chunks.reduce((sum, chunk) => sum + chunk.length, 0));
      let at = 0;
      for (const chunk of chunks) {
        all.set(chunk, at);
        at += chunk.length;
      }
      return all;
    },
    run: (each) => {
      wire.connect(device.nic);
      idle(each);
      reader.drain();
      idle(each);
      reader.close();
      each?.();
    },
  };
}

export const DESIGNS: readonly PresetName[] = PRESET_NAMES;

import type { NicHardware, NicMiddleware } from "./api/index.ts";

/** A driver's access to its NIC, or an interrupt. */
export interface NicAccess {
  /** `rx 0`, `tx 0`, `pool 2`, or `nic`. */
  readonly where: string;
  /** The member that was called; `interrupt` when the NIC called. */
  readonly access: string;
  readonly args: readonly number[];
  /** Null: none. */
  readonly answer: number | boolean | null;
}

/** A tracer between a driver and its NIC: `tell` hears each access after it was made, and each interrupt before its handler runs. For `DeviceOptions.middleware`. @kernel (none): mmiotrace has it of real registers */
export function traceNic(tell: (access: NicAccess) => void): NicMiddleware {
  return (nic: NicHardware): NicHardware => ({
    name: nic.name,
    stats: nic.stats,
    rxQueues: nic.rxQueues.map((queue, i) => traced(queue, `rx ${i}`, tell)),
    txQueues: nic.txQueues.map((queue, i) => traced(queue, `tx ${i}`, tell)),
    bufferPools: nic.bufferPools.map((pool, i) => traced(pool, `pool ${i}`, tell)),
    steering: nic.steering,
    requestIrq: (queue, cpu, handler) => {
      nic.requestIrq(queue, cpu, () => {
        tell({ where: `rx ${queue}`, access: "interrupt", args: [], answer: null });
        handler();
      });
      tell({ where: "nic", access: "requestIrq", args: [queue, cpu], answer: null });
    },
    freeIrq: (queue) => {
      nic.freeIrq(queue);
      tell({ where: "nic", access: "freeIrq", args: [queue], answer: null });
    },
  });
}

/** The same object, each of whose methods is told of. */
function traced<T extends object>(target: T, where: string, tell: (access: NicAccess) => void): T {
  return new Proxy(target, {
    get: (object, name) => {
      const member: unknown = Reflect.get(object, name, object);
      if (typeof member !== "function") return member;
      return (...args: readonly number[]): unknown => {
        const answer: unknown = Reflect.apply(member, object, args);
        tell({ where, access: String(name), args, answer: typeof answer === "number" || typeof answer === "boolean" ? answer : null });
        return answer;
      };
    },
  });
}

import { EOPNOTSUPP } from "@netmem/kernel/api";
import type { MemoryBinding, MemoryModel, MemoryModelDeps, MemoryModelOptions } from "@netmem/memory-model/api";
import { XskUser } from "./user.ts";

/** AF_XDP without a copy: the frames of one queue, whole, in memory of the user's process. */
export const xsk: MemoryModel = {
  name: "xsk",
  delivers: "frames",
  bind: (deps: MemoryModelDeps, { dev, queueIndex, buffers }: MemoryModelOptions): MemoryBinding | number => {
    const user = new XskUser(deps, dev, queueIndex, { rx: buffers, tx: 0 });
    const errno = user.open();
    if (errno < 0) return errno;
    return {
      free: () => buffers - user.held(), held: () => user.held(), areas: () => [],
      openStream: () => ({ read: () => -EOPNOTSUPP, close: () => undefined }),
      openFrames: (dataReady) => {
        user.socket.dataReady = dataReady;
        return { read: (onBytes) => user.read(onBytes), close: () => void (user.socket.dataReady = null) };
      },
      close: () => user.close(),
    };
  },
};

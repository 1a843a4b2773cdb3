import { bindingOf, type MemoryModel } from "@netmem/memory-model/api";
import { DeviceMemoryProvider } from "./provider.ts";
import { InPlaceStream } from "./stream.ts";

export const model: MemoryModel = {
  name: "my-model",
  bind: (deps, { dev, queueIndex, buffers }) => {
    const provider = new DeviceMemoryProvider(deps, dev, queueIndex, buffers);
    const errno = provider.open();
    return errno < 0 ? errno : bindingOf(() => [provider.provided], (socket) => new InPlaceStream(socket), () => provider.close());
  },
};

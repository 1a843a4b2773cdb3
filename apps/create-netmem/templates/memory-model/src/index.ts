import { bindingOf, type MemoryModel } from "@netmem/memory-model/api";
import { MyModelProvider } from "./provider.ts";
import { MyModelStream } from "./stream.ts";

export const myModel: MemoryModel = {
  name: "my-model",
  bind: (deps, { dev, queueIndex, buffers }) => {
    const provider = new MyModelProvider(deps, dev, queueIndex, buffers);
    const errno = provider.open();
    return errno < 0 ? errno : bindingOf(() => [provider.provided], (socket) => new MyModelStream(socket), () => provider.close());
  },
};

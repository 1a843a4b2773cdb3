import { describeMemoryModel } from "@netmem/testkit/vitest";
import { devmem } from "@netmem/memory-model-devmem";
import { netgpu } from "@netmem/memory-model-netgpu";
import { xsk } from "@netmem/memory-model-xsk";
import { zcrx } from "@netmem/memory-model-zcrx";

for (const model of [netgpu, devmem, zcrx, xsk]) describeMemoryModel(model);

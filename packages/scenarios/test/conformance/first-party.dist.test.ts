import { describeDriver, describeMemoryModel } from "@netmem/testkit/vitest";
import { headerSplit } from "@netmem/driver-header-split";
import { mvneta } from "@netmem/driver-mvneta";
import { mvpp2 } from "@netmem/driver-mvpp2";
import { splitPage } from "@netmem/driver-split-page";
import { striding } from "@netmem/driver-striding";
import { xsk } from "@netmem/driver-xsk";
import { devmem } from "@netmem/memory-model-devmem";
import { netgpu } from "@netmem/memory-model-netgpu";
import { xsk as xskModel } from "@netmem/memory-model-xsk";
import { zcrx } from "@netmem/memory-model-zcrx";

for (const driver of [mvneta, headerSplit, splitPage, striding, xsk]) describeDriver(driver);
describeDriver(mvpp2, { waive: { R13: "the original names no instance: its pages go to the ring where others go direct" } });
for (const model of [netgpu, devmem, zcrx, xskModel]) describeMemoryModel(model);

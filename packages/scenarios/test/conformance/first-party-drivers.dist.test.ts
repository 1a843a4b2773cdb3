import { describeDriver } from "@netmem/testkit/vitest";
import { headerSplit } from "@netmem/driver-header-split";
import { mvneta } from "@netmem/driver-mvneta";
import { mvpp2 } from "@netmem/driver-mvpp2";
import manifest from "@netmem/driver-mvpp2/package.json" with { type: "json" };
import { splitPage } from "@netmem/driver-split-page";
import { striding } from "@netmem/driver-striding";
import { xsk } from "@netmem/driver-xsk";

for (const driver of [mvneta, headerSplit, splitPage, striding, xsk]) describeDriver(driver);
describeDriver(mvpp2, manifest.netmem);

import { describeDriver } from "@netmem/testkit/node";
import { driver } from "../dist/index.js";

describeDriver(driver);

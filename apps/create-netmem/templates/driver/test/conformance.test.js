import { describeDriver } from "@netmem/testkit/node";
import { myDriver } from "../dist/index.js";

describeDriver(myDriver);

import { describeMemoryModel } from "@netmem/testkit/node";
import { myModel } from "../dist/index.js";

describeMemoryModel(myModel);

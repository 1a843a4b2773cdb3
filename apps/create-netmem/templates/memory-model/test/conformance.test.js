import { describeMemoryModel } from "@netmem/testkit/node";
import { model } from "../dist/index.js";

describeMemoryModel(model);

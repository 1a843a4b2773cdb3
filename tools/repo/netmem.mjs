// npm run -s netmem -- …: the command line from the checkout.
import { build, install, runEntry } from "./lib.mjs";

install();
build();
runEntry("apps/cli/dist/main.js", process.argv.slice(2));

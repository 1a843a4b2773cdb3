// npm run -s netmem -- …: the command line from the checkout.
import { buildIfChanged, install, runEntry } from "./lib.mjs";

install();
buildIfChanged();
runEntry("apps/cli/dist/main.js", process.argv.slice(2));

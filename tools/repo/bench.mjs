// npm run -s bench -- …: the benchmark from the checkout.
import { buildIfChanged, install, runEntry } from "./lib.mjs";

install();
buildIfChanged();
runEntry("apps/bench/dist/main.js", process.argv.slice(2));

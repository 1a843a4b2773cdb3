export { datagramsOfAPage } from "./held-pages.ts";
export { presetOf, validateFolder, type Scoreboard, type ValidatedCapture } from "./validate.ts";

export { CannotRecord } from "./live/commands.ts";
export { recordHere } from "./live/record.ts";
export { datagramsOfAPage } from "./held-pages.ts";
export { renderScoreboard, type Paint } from "./scoreboard-text.ts";
export { presetOf, validateFolder, type Scoreboard, type ValidatedCapture } from "./validate.ts";

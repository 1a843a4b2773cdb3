export { readCapture } from "./capture.ts";

export { readCapture } from "./capture.ts";
export { CaptureWriter } from "./writer.ts";

export { TraceReader } from "./reader.ts";
export { unpackedChunks } from "./unpack.ts";
export { mergeTraces, type TraceSource } from "./merge.ts";
export { Explainer, type Noticed } from "./explain/explainer.ts";
export { writeTracefs, type TraceNames } from "./write.ts";

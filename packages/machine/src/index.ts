export { createMachine } from "./boot.ts";
export type { DateOptions } from "./dates.ts";
export { DMA_KIND_NAMES, dmaKind, type DmaKind, type DmaKindName } from "./dma-kinds.ts";
export { Machine, type Device, type DeviceOptions, type MachineParts } from "./machine.ts";
export { pagePoolRules, resolvePreset, type MachineOptions } from "./options.ts";
export { DEFAULT_PRESET, PRESETS, PRESET_NAMES, RETURN_PATHS, SHARED_RELEASES, type Preset, type PresetName } from "./presets.ts";
export { LIVE_FRAME_MAX_BYTES, TEST_XDP_MAX_BATCH, testRunXdpLive, type LiveFramesOptions, type LiveFramesResult } from "./traffic/live-frames.ts";
export { FREE_ORDERS, Reader, USER_BUFFER_BYTES, type FreeOrder, type ReaderOptions } from "./traffic/reader.ts";
export { Wire, wireBytes, type WireFrame, type WireTiming } from "./traffic/wire.ts";

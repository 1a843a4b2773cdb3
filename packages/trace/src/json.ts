import { callForeign } from "@netmem/kernel/api";

/** Undefined: it is none. */
export function parseJson(text: string): unknown {
  return callForeign((): unknown => JSON.parse(text), () => undefined);
}

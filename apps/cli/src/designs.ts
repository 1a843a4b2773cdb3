import { PRESET_NAMES, type PresetName } from "@netmem/machine";
import { CliError } from "./terminal.ts";

/** `--design a,b`. */
export function designsOf(text: string): readonly PresetName[] {
  const designs = text.split(",").map((name) => name.trim()).filter((name) => name !== "");
  for (const name of designs) {
    if (!(PRESET_NAMES as readonly string[]).includes(name)) throw new CliError(`--design ${name}: no such design; choose from ${PRESET_NAMES.join(", ")}`);
  }
  if (designs.length === 0) throw new CliError(`--design: name at least one of ${PRESET_NAMES.join(", ")}`);
  if (new Set(designs).size !== designs.length) throw new CliError(`--design ${text}: a design is named twice`);
  return designs as PresetName[];
}

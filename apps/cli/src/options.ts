import { PRESET_NAMES, type PresetName } from "@netmem/machine";
import { CliError } from "./terminal.ts";

/** Parses an option's value. */
export function wholeNumber(name: string, minimum: number, maximum: number): (text: string) => number {
  return (text) => {
    const value = Number(text);
    if (!/^\d+$/.test(text) || value < minimum || value > maximum) throw new CliError(`--${name} ${text}: give a whole number from ${minimum} to ${maximum}`);
    return value;
  };
}

/** The last of several would win in silence. */
export function once(name: string): (text: string, before: string | undefined) => string {
  return (text, before) => {
    if (before !== undefined) throw new CliError(`--${name} ${text}: --${name} is given twice; one at a time`);
    return text;
  };
}

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

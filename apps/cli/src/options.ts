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

/**
 * Whether people can read what a call would send. ATTACKER-CONTROLLED: its size and its shape. A page names the place of every value, so that
 * one long name over many values is as much to show as the product of both: whoever opened it would stop the node.
 */
import type { Json, JsonObject } from '../lib/json.ts';

const BYTES = 262_144;
const VALUES = 5_000;
/** Of all values together, each with the names above it. */
const CHARACTERS = 524_288;
/** As a number or a word is written, at most about. */
const SHORT = 24;

export function isReadable(args: JsonObject): boolean {
  if (Buffer.byteLength(JSON.stringify(args)) > BYTES) return false;
  let values = 0;
  let characters = 0;
  const fits = (value: Json, place: number): boolean => {
    if (Array.isArray(value) && value.length > 0)
      return value.every((item, at) => fits(item, place + 1 + String(at).length));
    if (typeof value === 'object' && value !== null && !Array.isArray(value)) {
      const members = Object.entries(value);
      if (members.length > 0) return members.every(([name, member]) => fits(member, place + 1 + name.length));
    }
    values++;
    characters += place + (typeof value === 'string' ? value.length : SHORT);
    return values <= VALUES && characters <= CHARACTERS;
  };
  return fits(args, 0);
}

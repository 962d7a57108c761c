/** How much there is to look at in a value. */
import { isJsonObject } from '../lib/json.ts';
import type { Json } from '../lib/json.ts';
import { mediaKind } from './media.ts';

/**
 * Whether texts and names together, in UTF-16 code units, plus one per value, come to `from`. Reads no more of it than it takes to know.
 * @param media whether pictures and sound count; what comes in goes on without anybody reading them.
 */
export function isLarge(value: Json, from: number, media = true): boolean {
  let left = from;
  const isTooMuch = (part: Json): boolean => {
    left--;
    if (typeof part === 'string') left -= part.length;
    else if (Array.isArray(part)) return (part as readonly Json[]).some(isTooMuch) || left <= 0;
    else if (isJsonObject(part)) {
      const unread = !media && mediaKind(part) !== null;
      for (const name in part) {
        left -= name.length;
        if (!(unread && name === 'data') && isTooMuch(part[name] as Json)) return true;
      }
    }
    return left <= 0;
  };
  return isTooMuch(value);
}

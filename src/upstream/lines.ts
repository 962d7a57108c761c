/** Splits a byte stream at newlines, keeping at most one unfinished line of bounded size. */

/** `false`: the line grew beyond `maxBytes`; nothing after it is delivered. */
export function lineSplitter(maxBytes: number, onLine: (line: Buffer) => void): (chunk: Buffer) => boolean {
  let parts: Buffer[] = [];
  let size = 0;
  let overflown = false;
  return (chunk) => {
    let start = 0;
    while (!overflown) {
      const end = chunk.indexOf(0x0a, start);
      const part = chunk.subarray(start, end < 0 ? chunk.length : end);
      size += part.length;
      if (size > maxBytes) {
        overflown = true;
        parts = [];
        break;
      }
      if (end < 0) {
        if (part.length > 0) parts.push(part);
        break;
      }
      const line = parts.length === 0 ? part : Buffer.concat([...parts, part]);
      parts = [];
      size = 0;
      start = end + 1;
      onLine(line);
    }
    return !overflown;
  };
}

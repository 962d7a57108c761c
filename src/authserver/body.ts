/**
 * The body of a request, whole and bounded: more than `maxBytes` is not kept, and not waited for. Does not know what it means;
 * bytes that are no UTF-8 become U+FFFD.
 */
import type { IncomingMessage } from 'node:http';

/** Null: it is larger. */
export async function readBody(request: IncomingMessage, maxBytes: number): Promise<string | null> {
  const chunks: Buffer[] = [];
  let size = 0;
  for await (const chunk of request as AsyncIterable<Buffer>) {
    size += chunk.length;
    if (size > maxBytes) return null;
    chunks.push(chunk);
  }
  return Buffer.concat(chunks).toString('utf8');
}

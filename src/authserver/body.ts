/**
 * The body of a request, whole and bounded: more than `maxBytes` is not kept, and not waited for. Does not know what it means;
 * bytes that are no UTF-8 become U+FFFD.
 */
import type { IncomingMessage } from 'node:http';

/** Null: it is larger. */
export async function readBody(request: IncomingMessage, maxBytes: number): Promise<string | null> {
  const chunks: Buffer[] = [];
  let size = 0;
  // Not destroyed: the rest is thrown away once it is answered (edge.ts), and the connection goes on.
  for await (const chunk of request.iterator({ destroyOnReturn: false }) as AsyncIterable<Buffer>) {
    size += chunk.length;
    if (size > maxBytes) return null;
    chunks.push(chunk);
  }
  return Buffer.concat(chunks).toString('utf8');
}

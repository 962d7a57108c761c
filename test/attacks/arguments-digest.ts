/** The digest of arguments as a server would compute it from what it received: RFC 8785 written a second time, sharing no code with the product. */
import { createHash } from 'node:crypto';

function canonical(value: unknown): string {
  if (Array.isArray(value)) return `[${value.map(canonical).join(',')}]`;
  if (typeof value !== 'object' || value === null) return JSON.stringify(value);
  // The default order of strings is that of UTF-16 code units, which is what the RFC asks for.
  const members = Object.entries(value).toSorted(([a], [b]) => (a < b ? -1 : 1));
  return `{${members.map(([key, one]) => `${JSON.stringify(key)}:${canonical(one)}`).join(',')}}`;
}

export const argumentsDigest = (args: unknown): string =>
  `sha256:${createHash('sha256').update(canonical(args)).digest('hex')}`;

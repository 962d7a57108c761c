/** Whether what a server sends repeats a credential that was sent to it (AN-12). */
import { UpstreamFault } from './connection.ts';

/** Shorter values are no secrets, and are found by accident. */
const SHORTEST_CREDENTIAL = 8;

/**
 * Whether an answer repeats one of our header values, as servers that echo their request do: such an answer goes to nobody.
 * Not found: a credential that the server wrote in another way on purpose. It has it already and needs no caller to carry it off.
 */
export function credentialFinder(values: readonly string[]): (body: Uint8Array) => boolean {
  const secrets = values.flatMap((value) => [value, value.slice(value.lastIndexOf(' ') + 1)]);
  const spellings = secrets.flatMap((secret) => [secret, JSON.stringify(secret).slice(1, -1)]);
  const needles = [...new Set(spellings)]
    .filter(({ length }) => length >= SHORTEST_CREDENTIAL)
    .map((text) => Buffer.from(text));
  return ({ buffer, byteOffset, byteLength }) => {
    const body = Buffer.from(buffer, byteOffset, byteLength);
    return needles.some((needle) => body.includes(needle));
  };
}

export const repeated = (): UpstreamFault =>
  new UpstreamFault('upstream_protocol', 'the answer repeats a credential that was sent with the request', {
    dispatched: 'unknown',
  });

/**
 * Registers the gateway as a client at an authorization server (RFC 7591). Own code, because many servers leave out
 * `client_secret_expires_at`, which the library insists on. What is registered is used with this issuer only.
 */
import type { AuthorizationServer } from 'oauth4webapi';
import { z } from 'zod';
import { parseStrictJson } from '../../lib/strict-json.ts';
import { type DialRule, guardedRequest } from '../dial.ts';
import { authFault } from './faults.ts';

const Registered = z.object({
  client_id: z.string().min(1).max(2_048),
  client_secret: z.string().min(1).max(4_096).exactOptional(),
  token_endpoint_auth_method: z.string().max(100).exactOptional(),
});
export type Registered = z.infer<typeof Registered>;

const MAX_ANSWER_BYTES = 65_536;

/** @throws UpstreamFault, DialFault */
export async function registerClient(
  server: AuthorizationServer,
  rule: DialRule,
  metadata: Readonly<Record<string, unknown>>,
): Promise<Registered> {
  if (server.registration_endpoint === undefined)
    throw authFault('the authorization server registers no clients; register one there and name it in the record');
  const answer = await guardedRequest(server.registration_endpoint, {
    rule,
    method: 'POST',
    headers: { 'content-type': 'application/json', accept: 'application/json' },
    body: JSON.stringify(metadata),
    timeoutMs: 10_000,
    maxBytes: MAX_ANSWER_BYTES,
  });
  if (answer.status !== 201 && answer.status !== 200)
    throw authFault(`the registration of a client was refused with HTTP status ${answer.status}`);
  const parsed = parseStrictJson(answer.body, { maxBytes: MAX_ANSWER_BYTES, maxDepth: 16 });
  const registered = Registered.safeParse(parsed.ok ? parsed.value : null);
  if (!registered.success) throw authFault('the answer to the registration of a client is not what RFC 7591 asks for');
  return registered.data;
}

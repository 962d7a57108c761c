/**
 * Opaque tokens, asked about at the issuer that gave them (RFC 7662). Promises: a token goes to that one endpoint and nowhere else; one question
 * at a time for one token, a bounded number at once, each with a deadline; what is not a clear yes is a no, and no answer is never a yes.
 * The claims of the answer go through the same rules as signed ones (`claims.ts`). Good answers are kept by who asks; bad ones briefly here.
 */
import { hash } from 'node:crypto';
import { LRUCache } from 'lru-cache';
import { ClientSecretBasic, ClientSecretPost } from 'oauth4webapi';
import type { Clock } from '../lib/clock.ts';
import { type JsonObject, isJsonObject } from '../lib/json.ts';
import { type Result, err, ok } from '../lib/result.ts';
import { parseStrictJson } from '../lib/strict-json.ts';
import type { IntrospectionSettings } from './issuer-rule.ts';
import type { TokenProblem } from './token-problem.ts';

/** One POST of a form. In the product this is `guardedRequest` with the issuer's networks. It may reject, and must keep to the time. */
export type PostForm = (
  url: string,
  request: { readonly headers: Readonly<Record<string, string>>; readonly body: string; readonly timeoutMs: number },
) => Promise<{ readonly status: number; readonly contentType: string; readonly body: Uint8Array }>;

export interface Introspector {
  /** The claims of an active token of this issuer. Never rejects. */
  ask(token: string): Promise<Result<JsonObject, TokenProblem>>;
}

const TIMEOUT_MS = 3_000;
const MAX_AT_ONCE = 32;
const MAX_BYTES = 65_536;
const BAD_FOR_MS = 5_000;
/** After a failure nobody waits for the next one for so long. */
const REST_MS = 1_000;
const ACCESS_TOKEN_TYPES = /^(?:bearer|dpop|access_token)$/i;

export function introspector(
  issuer: string,
  settings: IntrospectionSettings,
  deps: { readonly clock: Clock; readonly post: PostForm },
): Introspector {
  const { clock, post } = deps;
  const authentication = settings.authentication === 'post' ? ClientSecretPost : ClientSecretBasic;
  // ATTACKER-CONTROLLED: how many tokens are made up. They have a room of their own and push out no good ones.
  const bad = new LRUCache<string, number>({ max: 5_000 });
  const asking = new Map<string, Promise<Result<JsonObject, TokenProblem>>>();
  let restUntil = 0;

  async function request(token: string): Promise<Result<JsonObject, TokenProblem>> {
    const body = new URLSearchParams({ token, token_type_hint: 'access_token' });
    const headers = new Headers({ accept: 'application/json', 'content-type': 'application/x-www-form-urlencoded' });
    try {
      await authentication(await settings.clientSecret())({ issuer }, { client_id: settings.clientId }, body, headers);
      const answer = await post(settings.url, {
        headers: Object.fromEntries(headers),
        body: body.toString(),
        timeoutMs: TIMEOUT_MS,
      });
      // ATTACKER-CONTROLLED: the token. An endpoint that finds fault with one of them is there for all others.
      if (answer.status === 400 || answer.status === 422) return err({ kind: 'keys_unavailable' });
      if (answer.status !== 200 || !/^application\/json\s*(?:;|$)/i.test(answer.contentType)) return unavailable();
      const parsed = parseStrictJson(answer.body, { maxBytes: MAX_BYTES, maxDepth: 16 });
      if (!parsed.ok || !isJsonObject(parsed.value)) return unavailable();
      return active(parsed.value, token);
    } catch {
      return unavailable();
    }
  }

  function unavailable(): Result<never, TokenProblem> {
    restUntil = clock.now() + REST_MS;
    return err({ kind: 'keys_unavailable' });
  }

  function active(answer: JsonObject, token: string): Result<JsonObject, TokenProblem> {
    if (answer['active'] !== true) return err({ kind: 'inactive' });
    const { iss = issuer, token_type: type, jti } = answer;
    if (iss !== issuer) return err({ kind: 'issuer' });
    if (type !== undefined && !(typeof type === 'string' && ACCESS_TOKEN_TYPES.test(type)))
      return err({ kind: 'type' });
    // Without an id of its own a token is known by its digest: what is locked or void must have a name.
    return ok({ ...answer, iss, jti: jti ?? hash('sha256', token, 'base64url') });
  }

  return {
    async ask(token) {
      const key = hash('sha256', token, 'base64');
      const until = bad.get(key);
      if (until !== undefined && clock.now() < until) return err({ kind: 'inactive' });
      const before = asking.get(key);
      if (before) return before;
      if (clock.now() < restUntil || asking.size >= MAX_AT_ONCE) return err({ kind: 'keys_unavailable' });
      const question = request(token).finally(() => asking.delete(key));
      asking.set(key, question);
      const answer = await question;
      if (!answer.ok && answer.error.kind === 'inactive') bad.set(key, clock.now() + BAD_FOR_MS);
      return answer;
    },
  };
}

/**
 * A transmitter of security events for tests: a real issuer (keys, key set) that signs events, honest and not, and pushes them over HTTP.
 * It shares no code with the product.
 */
import { createHash, randomUUID } from 'node:crypto';
import { request } from 'node:http';
import type { EventStream } from '../../../src/directory/records.ts';
import type { Clock } from '../../../src/lib/clock.ts';
import { startIssuer } from '../../support/issuer.ts';
import type { Members, MintOptions } from '../../support/issuer.ts';

export const AUDIENCE = 'https://remit.example/events';
export const BEARER = 'bearer-of-the-stream-0123456789abcdef';
export const CAEP = 'https://schemas.openid.net/secevent/caep/event-type/';
export const RISC = 'https://schemas.openid.net/secevent/risc/event-type/';
export const OAUTH = 'https://schemas.openid.net/secevent/oauth/event-type/';
export const SSF = 'https://schemas.openid.net/secevent/ssf/event-type/';

export interface Reply {
  readonly status: number;
  readonly text: string;
  readonly body: { readonly err?: string; readonly description?: string };
}

export type EventTransmitter = Awaited<ReturnType<typeof startTransmitter>>;

export async function startTransmitter(clock?: Clock) {
  const issuer = await startIssuer({ algorithm: 'RS256', ...(clock && { clock }) });
  const nowSeconds = (): number => Math.floor((clock?.now() ?? Date.now()) / 1_000);

  /** The claims of an honest event; a member that is undefined is left out. */
  const claims = (type: string, members: Members = {}, more: Members = {}): Members => ({
    iss: issuer.issuer,
    aud: AUDIENCE,
    jti: randomUUID(),
    iat: nowSeconds(),
    events: { [type]: members },
    ...more,
  });
  const sign = (body: Members, header: Members = {}, options: MintOptions = {}): string => {
    const key = options.key ?? issuer.currentKey();
    return issuer.mintRaw(
      JSON.stringify({ alg: key.algorithm, typ: 'secevent+jwt', kid: key.kid, ...header }),
      JSON.stringify(body),
      options,
    );
  };

  return {
    issuer,
    nowSeconds,
    claims,
    sign,
    event: (type: string, members: Members = {}, more: Members = {}): string => sign(claims(type, members, more)),
    /** The record of its stream. */
    stream: (more: Partial<EventStream> = {}): EventStream => ({
      title: 'Test transmitter',
      state: 'active',
      issuer: issuer.issuer,
      jwksUri: issuer.jwksUri,
      algorithms: ['RS256'],
      audience: AUDIENCE,
      allowedNetworks: ['127.0.0.1/32'],
      delivery: {
        method: 'push',
        tokens: [
          {
            id: 'tok_1',
            sha256: createHash('sha256').update(BEARER).digest('hex'),
            createdAt: 0,
            expiresAt: Number.MAX_SAFE_INTEGER,
            by: 'ada',
          },
        ],
      },
      silenceAfterMs: null,
      whenSilent: 'alarm',
      ...more,
    }),
    push,
    close: () => issuer.close(),
  };
}

/** One POST as RFC 8935 has it, unless told otherwise. */
export function push(
  url: string,
  token: string,
  headers: Readonly<Record<string, string | undefined>> = {},
): Promise<Reply> {
  const all = { authorization: `Bearer ${BEARER}`, 'content-type': 'application/secevent+jwt', ...headers };
  return new Promise((resolve, reject) => {
    const outgoing = request(
      url,
      { method: 'POST', headers: Object.fromEntries(Object.entries(all).filter(([, value]) => value !== undefined)) },
      (response) => {
        let text = '';
        response.setEncoding('utf8').on('data', (chunk: string) => (text += chunk));
        response.on('error', reject);
        response.on('end', () => {
          let body: Reply['body'] = {};
          try {
            body = JSON.parse(text) as Reply['body'];
          } catch {
            // An empty answer is an answer.
          }
          resolve({ status: response.statusCode ?? 0, text, body });
        });
      },
    );
    outgoing.on('error', reject);
    outgoing.end(token);
  });
}

export const issSub = (iss: string, sub: string): Members => ({ sub_id: { format: 'iss_sub', iss, sub } });

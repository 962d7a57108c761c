/** What the tests of this room share: a frozen clock, a real issuer on loopback, and a verifier that fetches through the guarded dialler. */
import { afterAll } from 'vitest';
import { type TokenVerifier, type TokenVerifierOptions, createTokenVerifier } from '../../src/identity/access-token.ts';
import type { Caller } from '../../src/identity/caller.ts';
import type { TokenProblem } from '../../src/identity/token-problem.ts';
import { manualClock } from '../../src/lib/clock.ts';
import { guardedJson } from '../../src/upstream/dial.ts';
import { type IssuerOptions, type TestIssuer, startIssuer } from '../support/issuer.ts';

export const RESOURCE = 'https://gw.example/mcp/default/github';
export const SIBLING = 'https://gw.example/mcp/default/slack';
export const START_MS = 1_800_000_000_000;
export const NOW = START_MS / 1000;

export const clock = manualClock(START_MS);

const open: TestIssuer[] = [];
afterAll(async () => {
  for (const issuer of open) await issuer.close();
});

export async function issuerOn(options: Omit<IssuerOptions, 'clock'> = {}): Promise<TestIssuer> {
  const issuer = await startIssuer({ ...options, clock });
  open.push(issuer);
  return issuer;
}

export const fetchOnLoopback = (url: string): Promise<unknown> =>
  guardedJson(url, { rule: { allowedNetworks: ['127.0.0.1/32'], requireHttps: true }, timeoutMs: 2_000 });

export function verifierFor(issuer: TestIssuer, options: Partial<TokenVerifierOptions> = {}): TokenVerifier {
  return createTokenVerifier({
    issuers: [{ issuer: issuer.issuer, jwksUri: issuer.jwksUri }],
    fetchJwks: fetchOnLoopback,
    clock,
    ...options,
  });
}

export async function callerOf(verifier: TokenVerifier, token: string, audience = RESOURCE): Promise<Caller> {
  const result = await verifier.verify(token, audience);
  if (!result.ok) throw new Error(`refused: ${JSON.stringify(result.error)}`);
  return result.value;
}

export async function problemOf(verifier: TokenVerifier, token: string, audience = RESOURCE): Promise<TokenProblem> {
  const result = await verifier.verify(token, audience);
  if (result.ok) throw new Error('was not refused');
  return result.error;
}

/**
 * Proof of possession at the resource (RFC 9449 4.3, 7 and 9; CONTROLS AN-13): the proof of this very request, with this very token, signed by
 * the key the token is bound to, not used before. Checked only for tokens that are good already, and cheap things first:
 * strangers can neither make us compute signatures nor fill the memory of used proofs.
 * Not checked: the token. Several nodes: each remembers its own proofs; with `nonces` a proof made for one node is worth nothing at another.
 */
import { createHmac, hash, randomBytes, timingSafeEqual } from 'node:crypto';
import { calculateJwkThumbprint, compactVerify } from 'jose';
import type { Clock } from '../lib/clock.ts';
import { readJwsParts } from './compact-jws.ts';
import { proofMemory } from './proof-memory.ts';
import { KEY_TYPES, type TokenAlgorithm, isTokenAlgorithm, readPublicJwk } from './public-jwk.ts';
import type { ProofDetail, TokenProblem } from './token-problem.ts';

/** What of a request a proof speaks of. */
export interface Possession {
  /** Names and values in turn, as `IncomingMessage.rawHeaders`. The same array is the same request: its proof is used once, however often it is asked about. */
  readonly rawHeaders: readonly string[];
  readonly method: string;
  /** The public URL of the endpoint, without query and fragment. */
  readonly url: string;
}

export interface ProofSettings {
  /** How far `iat` may lie from now, either way. Default 300. */
  readonly windowSeconds?: number;
  /** Demand a nonce of this node in every proof. Default false. */
  readonly nonces?: boolean;
  /** Proofs remembered. Default 100,000; of one key 10,000. */
  readonly capacity?: number;
  readonly perKey?: number;
}

/** What proofs may be signed with; metadata and challenges name them. */
export const PROOF_ALGORITHMS: readonly TokenAlgorithm[] = ['ES256', 'RS256', 'PS256', 'EdDSA'];
const NONCE_MS = 150_000;
const MAX_JTI = 256;

export interface ProofChecker {
  /** Null: the holder of the key with this thumbprint made this request. Never rejects. */
  check(request: Possession, token: string, thumbprint: string): Promise<TokenProblem | null>;
}

export function proofChecker(clock: Clock, settings: ProofSettings = {}): ProofChecker {
  const { windowSeconds = 300, nonces = false } = settings;
  const memory = proofMemory({
    clock,
    // One that came with the latest `iat` we take can come again until that moment has passed the window, too.
    keepMs: (2 * windowSeconds + 1) * 1_000,
    capacity: settings.capacity ?? 100_000,
    perKey: settings.perKey ?? 10_000,
  });
  const nonceKey = randomBytes(32);
  const asked = new WeakMap<readonly string[], Promise<TokenProblem | null>>();

  const nonceOf = (period: number): string =>
    createHmac('sha256', nonceKey).update(String(period)).digest('base64url').slice(0, 22);
  const period = (): number => Math.floor(clock.now() / NONCE_MS);
  const isOurNonce = (nonce: unknown): boolean =>
    typeof nonce === 'string' && [period(), period() - 1].some((at) => sameText(nonceOf(at), nonce));

  async function examine(request: Possession, token: string, thumbprint: string): Promise<ProofDetail | 'full' | null> {
    const proof = proofOf(request.rawHeaders);
    if (proof === 'missing' || proof === 'duplicate') return proof;
    const read = readJwsParts(proof);
    if (!read.ok) return 'malformed';
    const { header, claims } = read.value;
    const { alg: algorithm, jwk } = header;
    if (header['typ'] !== 'dpop+jwt') return 'type';
    if (typeof algorithm !== 'string' || !isTokenAlgorithm(algorithm) || !PROOF_ALGORITHMS.includes(algorithm))
      return 'algorithm';
    const key = readPublicJwk(jwk);
    if (key?.keyType !== KEY_TYPES[algorithm]) return 'key';
    if ((await calculateJwkThumbprint(jwk as object, 'sha256')) !== thumbprint) return 'key_mismatch';

    const { jti, htm, htu, iat, ath } = claims;
    if (typeof jti !== 'string' || jti === '' || jti.length > MAX_JTI) return 'claims';
    if (typeof iat !== 'number' || !Number.isFinite(iat) || typeof htu !== 'string') return 'claims';
    if (htm !== request.method) return 'method';
    if (!isSameUrl(htu, request.url)) return 'url';
    if (ath !== hash('sha256', token, 'base64url')) return 'token_hash';
    if (Math.abs(clock.now() / 1000 - iat) > windowSeconds) return 'time';
    if (nonces && !isOurNonce(claims['nonce'])) return 'nonce';
    try {
      await compactVerify(proof, key.key, { algorithms: [algorithm] });
    } catch {
      return 'signature';
    }
    const memorised = memory.remember(thumbprint, jti);
    return memorised === 'new' ? null : memorised === 'seen' ? 'replayed' : 'full';
  }

  async function problemOf(request: Possession, token: string, thumbprint: string): Promise<TokenProblem | null> {
    // A key that only looks like one throws somewhere inside the libraries: it proves nothing either way.
    const detail = await examine(request, token, thumbprint).catch((): ProofDetail => 'key');
    if (detail === null) return null;
    if (detail === 'full') return { kind: 'proofs_full' };
    return { kind: 'proof', detail, ...(detail === 'nonce' && { nonce: nonceOf(period()) }) };
  }

  return {
    check(request, token, thumbprint) {
      // A batch, or a request that waits for room, is asked about more than once.
      const before = asked.get(request.rawHeaders);
      if (before) return before;
      const answer = problemOf(request, token, thumbprint);
      asked.set(request.rawHeaders, answer);
      return answer;
    },
  };
}

function proofOf(rawHeaders: readonly string[]): string {
  let proof: string | undefined;
  for (let i = 0; i + 1 < rawHeaders.length; i += 2) {
    if (rawHeaders[i]?.toLowerCase() !== 'dpop') continue;
    if (proof !== undefined) return 'duplicate';
    proof = rawHeaders[i + 1];
  }
  return proof ?? 'missing';
}

/** The same after what RFC 3986 6.2.2 and 6.2.3 call the same: case of scheme and host, the default port, dot segments. */
function isSameUrl(htu: string, url: string): boolean {
  if (htu === url) return true;
  const [named, ours] = [URL.parse(htu), URL.parse(url)];
  if (named === null || ours === null || named.username !== '' || named.password !== '' || /[?#\\]/.test(htu))
    return false;
  return named.origin === ours.origin && named.pathname === ours.pathname;
}

function sameText(a: string, b: string): boolean {
  const [left, right] = [Buffer.from(a), Buffer.from(b)];
  return left.length === right.length && timingSafeEqual(left, right);
}

/**
 * Which era a server is, and over HTTP whether it is one of 2024-11-05 with a stream of its own, found once and remembered
 * per (server, definition). A legacy verdict has an end: a server that
 * is upgraded goes on answering legacy, and nobody would notice (C6). A stdio server is asked on a throw-away sibling,
 * because the question alone can spoil a process for the other era (P3).
 */
import type { Clock } from '../lib/clock.ts';
import type { JsonObject } from '../lib/json.ts';
import { type Era, UpstreamFault, type UpstreamIdentity } from './connection.ts';
import { agreeLegacy, agreeModern, askDiscover, isModernAnswer } from './handshake.ts';
import { HttpStatusFault } from './http-rules.ts';
import type { Wire } from './wire.ts';

const LEGACY_HOLDS_MS = 24 * 3_600_000;

/** `sse`: legacy, over HTTP+SSE. */
export type Way = Era | 'sse';

export interface EraMemory {
  /** Null: unknown, or a legacy verdict that is too old. */
  recall(serverId: string, definition: string): Way | null;
  remember(serverId: string, definition: string, way: Way): void;
  forget(serverId: string): void;
}

export function eraMemory(clock: Clock): EraMemory {
  const known = new Map<string, { definition: string; way: Way; at: number }>();
  return {
    recall: (serverId, definition) => {
      const verdict = known.get(serverId);
      if (verdict?.definition !== definition) return null;
      return verdict.way !== 'modern' && clock.now() - verdict.at >= LEGACY_HOLDS_MS ? null : verdict.way;
    },
    remember: (serverId, definition, way) => void known.set(serverId, { definition, way, at: clock.now() }),
    forget: (serverId) => void known.delete(serverId),
  };
}

/** Agrees in a known era; a legacy server is told `capabilities`. @throws UpstreamFault */
export async function agreeIn(
  era: Era,
  wire: Wire,
  capabilities: JsonObject,
  signal: AbortSignal,
  timeoutMs: number,
): Promise<UpstreamIdentity> {
  return era === 'modern'
    ? agreeModern(wire, await askDiscover(wire, signal, timeoutMs))
    : agreeLegacy(wire, capabilities, signal, timeoutMs);
}

/**
 * HTTP: asks the modern question and, when the answer is none, the legacy one, on the same wire (C5). `sse`: the server
 * takes neither at this address, so it may be one of 2024-11-05.
 * @throws UpstreamFault for what is no evidence: 401, 403, 429, 5xx, a timeout, a server that cannot be reached.
 */
export async function agreeByAsking(
  wire: Wire,
  capabilities: JsonObject,
  signal: AbortSignal,
  timeoutMs: number,
): Promise<UpstreamIdentity | 'sse'> {
  try {
    const reply = await askDiscover(wire, signal, timeoutMs);
    if (isModernAnswer(reply)) return agreeModern(wire, reply);
  } catch (fault) {
    const { status = 0 } = fault instanceof HttpStatusFault ? fault : {};
    if (status < 400 || status === 401 || status === 403 || status === 429 || status >= 500) throw fault;
  }
  try {
    return await agreeLegacy(wire, capabilities, signal, timeoutMs);
  } catch (fault) {
    if (fault instanceof HttpStatusFault && NOT_HERE.has(fault.status)) return 'sse';
    throw fault;
  }
}

const NOT_HERE: ReadonlySet<number> = new Set([400, 404, 405]);

/** stdio: modern or not, by one question to a process that is thrown away. Any other answer, none, or its death means legacy (P2). */
export async function eraOfSibling(wire: Wire, signal: AbortSignal, timeoutMs: number): Promise<Era> {
  try {
    return isModernAnswer(await askDiscover(wire, signal, timeoutMs)) ? 'modern' : 'legacy';
  } catch (fault) {
    if (signal.aborted || !(fault instanceof UpstreamFault)) throw fault;
    return 'legacy';
  } finally {
    await wire.close('era probe');
  }
}

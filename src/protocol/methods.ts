/**
 * The methods Remit understands from clients. Default deny: what has no row here is refused, never relayed (G6, PH-06).
 * A new method family is new rows: which eras have it, which pipeline column it runs in, which body member `Mcp-Name` mirrors.
 */
import type { Era } from './versions.ts';

/** The pipeline's columns. */
export type MethodFamily = 'initialize' | 'initialized' | 'discover' | 'ping' | 'list' | 'call' | 'cancelled';

export interface MethodRule {
  readonly family: MethodFamily;
  readonly kind: 'request' | 'notification';
  readonly eras: readonly Era[];
  /** Member of `params` that the `Mcp-Name` header must equal; null: the method has no name. */
  readonly name: 'name' | 'uri' | null;
  /** Members of `params` this protocol gives a meaning. A key that only looks like one of them is refused (PH-02). */
  readonly members: readonly string[];
}

const LEGACY: readonly Era[] = ['legacy'];
const MODERN: readonly Era[] = ['modern'];
const BOTH: readonly Era[] = ['modern', 'legacy'];

// prettier-ignore
const TABLE: Readonly<Record<string, MethodRule>> = {
  'initialize':                { family: 'initialize',  kind: 'request',      eras: LEGACY, name: null,   members: ['protocolVersion', 'capabilities', 'clientInfo'] },
  'notifications/initialized': { family: 'initialized', kind: 'notification', eras: LEGACY, name: null,   members: [] },
  'ping':                      { family: 'ping',        kind: 'request',      eras: LEGACY, name: null,   members: [] },
  'server/discover':           { family: 'discover',    kind: 'request',      eras: MODERN, name: null,   members: [] },
  'tools/list':                { family: 'list',        kind: 'request',      eras: BOTH,   name: null,   members: ['cursor'] },
  'tools/call':                { family: 'call',        kind: 'request',      eras: BOTH,   name: 'name', members: ['name', 'arguments', 'task', 'inputResponses', 'requestState'] },
  'notifications/cancelled':   { family: 'cancelled',   kind: 'notification', eras: LEGACY, name: null,   members: ['requestId', 'reason'] },
};

// ATTACKER-CONTROLLED: the method name is looked up, so the table must have no inherited members.
const METHODS: ReadonlyMap<string, MethodRule> = new Map(Object.entries(TABLE));

export const KNOWN_METHODS: readonly string[] = [...METHODS.keys()];

/** The row of a method that this era has, sent as this kind of message; undefined refuses it. */
export function methodRule(method: string, era: Era, kind: MethodRule['kind']): MethodRule | undefined {
  const rule = METHODS.get(method);
  return rule !== undefined && rule.kind === kind && rule.eras.includes(era) ? rule : undefined;
}

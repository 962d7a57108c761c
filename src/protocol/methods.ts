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
  /** Members of `params` the protocol gives a meaning; others are the caller's own. */
  readonly members: Readonly<Record<string, MemberRule>>;
}

/** `refused`: has a meaning that Remit never gave it leave to use, so its presence is an error. */
export interface MemberRule {
  readonly type: 'string' | 'object' | 'id' | 'any' | 'refused';
  readonly required: boolean;
}

const must = (type: MemberRule['type']): MemberRule => ({ type, required: true });
const may = (type: MemberRule['type']): MemberRule => ({ type, required: false });

const LEGACY: readonly Era[] = ['legacy'];
const MODERN: readonly Era[] = ['modern'];
const BOTH: readonly Era[] = ['modern', 'legacy'];

const TABLE: Readonly<Record<string, MethodRule>> = {
  initialize: {
    family: 'initialize',
    kind: 'request',
    eras: LEGACY,
    name: null,
    members: { protocolVersion: must('string'), capabilities: must('object'), clientInfo: must('object') },
  },
  'notifications/initialized': { family: 'initialized', kind: 'notification', eras: LEGACY, name: null, members: {} },
  ping: { family: 'ping', kind: 'request', eras: LEGACY, name: null, members: {} },
  'server/discover': { family: 'discover', kind: 'request', eras: MODERN, name: null, members: {} },
  'tools/list': { family: 'list', kind: 'request', eras: BOTH, name: null, members: { cursor: may('string') } },
  'tools/call': {
    family: 'call',
    kind: 'request',
    eras: BOTH,
    name: 'name',
    members: {
      name: must('string'),
      arguments: may('object'),
      // Legacy tasks: asking for one is a wish, and without the capability it is ignored (M29).
      task: may('any'),
      // Remit asks callers for nothing yet, so nobody can hold a state it issued (M20).
      inputResponses: may('refused'),
      requestState: may('refused'),
    },
  },
  'notifications/cancelled': {
    family: 'cancelled',
    kind: 'notification',
    eras: LEGACY,
    name: null,
    members: { requestId: must('id'), reason: may('string') },
  },
};

// ATTACKER-CONTROLLED: the method name is looked up, so the table must have no inherited members.
const METHODS: ReadonlyMap<string, MethodRule> = new Map(Object.entries(TABLE));

export const methodRules = (): readonly (readonly [string, MethodRule])[] => [...METHODS];

/** The row of a method that this era has, sent as this kind of message; undefined refuses it. */
export function methodRule(method: string, era: Era, kind: MethodRule['kind']): MethodRule | undefined {
  const rule = METHODS.get(method);
  return rule !== undefined && rule.kind === kind && rule.eras.includes(era) ? rule : undefined;
}

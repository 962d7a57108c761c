/**
 * The methods Remit understands from clients. Default deny: what has no row here is refused, never relayed (G6, PH-06).
 * A new method family is new rows: which eras have it, which pipeline column it runs in, which body member `Mcp-Name` mirrors.
 */
import type { Era } from './versions.ts';

/** What the pipeline's columns are for. */
export type MethodFamily =
  | 'initialize'
  | 'initialized'
  | 'discover'
  | 'ping'
  | 'list'
  | 'call'
  | 'prompt'
  | 'read'
  | 'complete'
  | 'subscribe'
  | 'level'
  | 'listen'
  | 'task'
  | 'cancelled';

export interface MethodRule {
  readonly family: MethodFamily;
  readonly kind: 'request' | 'notification';
  readonly eras: readonly Era[];
  /** Member of `params` that the `Mcp-Name` header must equal; null: the method has no name. */
  readonly name: 'name' | 'uri' | 'taskId' | null;
  /** Members of `params` the protocol gives a meaning; others are the caller's own. */
  readonly members: Readonly<Record<string, MemberRule>>;
}

export interface MemberRule {
  readonly type: 'string' | 'object' | 'id' | 'any';
  readonly required: boolean;
}

const must = (type: MemberRule['type']): MemberRule => ({ type, required: true });
const may = (type: MemberRule['type']): MemberRule => ({ type, required: false });

const LEGACY: readonly Era[] = ['legacy'];
const MODERN: readonly Era[] = ['modern'];
const BOTH: readonly Era[] = ['modern', 'legacy'];

/** What a modern client sends again with its answers (MRTR). In the legacy era they have no meaning and are not read. */
const AGAIN = { inputResponses: may('object'), requestState: may('string') } as const;

function request(
  family: MethodFamily,
  eras: readonly Era[],
  members: MethodRule['members'] = {},
  name: MethodRule['name'] = null,
): MethodRule {
  return { family, kind: 'request', eras, name, members };
}

function notification(family: MethodFamily, members: MethodRule['members'] = {}): MethodRule {
  return { family, kind: 'notification', eras: LEGACY, name: null, members };
}

// prettier-ignore
const TABLE: Readonly<Record<string, MethodRule>> = {
  initialize: request('initialize', LEGACY, { protocolVersion: must('string'), capabilities: must('object'), clientInfo: must('object') }),
  'notifications/initialized': notification('initialized'),
  ping: request('ping', LEGACY),
  'server/discover': request('discover', MODERN),

  'tools/list': request('list', BOTH, { cursor: may('string') }),
  'prompts/list': request('list', BOTH, { cursor: may('string') }),
  'resources/list': request('list', BOTH, { cursor: may('string') }),
  'resources/templates/list': request('list', BOTH, { cursor: may('string') }),

  // `task`: a 2025-11-25 client asks for a task with it; for everybody else it is a wish that is ignored (M29).
  'tools/call': request('call', BOTH, { name: must('string'), arguments: may('object'), task: may('any'), ...AGAIN }, 'name'),
  'prompts/get': request('prompt', BOTH, { name: must('string'), arguments: may('object'), ...AGAIN }, 'name'),
  'resources/read': request('read', BOTH, { uri: must('string'), ...AGAIN }, 'uri'),
  'completion/complete': request('complete', BOTH, { ref: must('object'), argument: must('object'), context: may('object') }),

  'resources/subscribe': request('subscribe', LEGACY, { uri: must('string') }),
  'resources/unsubscribe': request('subscribe', LEGACY, { uri: must('string') }),
  'logging/setLevel': request('level', LEGACY, { level: must('string') }),
  'subscriptions/listen': request('listen', MODERN, { notifications: must('object') }),

  'tasks/get': request('task', BOTH, { taskId: must('string') }, 'taskId'),
  'tasks/update': request('task', MODERN, { taskId: must('string'), inputResponses: must('object') }, 'taskId'),
  'tasks/cancel': request('task', BOTH, { taskId: must('string') }, 'taskId'),
  'tasks/result': request('task', LEGACY, { taskId: must('string') }, 'taskId'),
  'tasks/list': request('task', LEGACY, { cursor: may('string') }),

  'notifications/cancelled': notification('cancelled', { requestId: must('id'), reason: may('string') }),
};

// ATTACKER-CONTROLLED: the method name is looked up, so the table must have no inherited members.
const METHODS: ReadonlyMap<string, MethodRule> = new Map(Object.entries(TABLE));

export const methodRules = (): readonly (readonly [string, MethodRule])[] => [...METHODS];

/** The row of a method that this era has, sent as this kind of message; undefined refuses it. */
export function methodRule(method: string, era: Era, kind: MethodRule['kind']): MethodRule | undefined {
  const rule = METHODS.get(method);
  return rule !== undefined && rule.kind === kind && rule.eras.includes(era) ? rule : undefined;
}

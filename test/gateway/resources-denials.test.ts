/**
 * PH-04: every reason to refuse, for every method family, in both eras and on the aggregate: nothing reaches the server, the log has the
 * true reason, and it is the same one whichever way the message came.
 */
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { JsonObject } from '../../src/lib/json.ts';
import { ERAS, startRig, textTool } from '../support/rig.ts';
import type { CallOptions, Era, Rig } from '../support/rig.ts';
import type { Sink } from '../support/upstreams/sink.ts';

const script = (sink: Sink): void => {
  sink.offer({
    prompts: [{ name: 'greet' }, { name: 'unreviewed' }],
    resources: [
      { uri: 'res://one', name: 'one' },
      { uri: 'res://unreviewed', name: 'unreviewed' },
    ],
    resourceTemplates: [{ uriTemplate: 'tpl://x/{id}', name: 'x' }],
  });
  sink.on('completion/complete', () => ({ completion: { values: ['done'] } }));
};
const risk = (key: string) => (key.includes('unreviewed') ? null : ('read' as const));
const tools = [textTool('read_note', 'read', 'notes:read')];
let rig: Rig;
beforeAll(async () => {
  rig = await startRig({ servers: { notes: { tools, script, risk } }, freshnessLimitMs: 20_000 });
});
afterAll(() => rig.stop());

const argument = { name: 'id', value: 'd' };
// prettier-ignore
const FAMILIES: Readonly<Record<string, { readonly method: string; readonly era?: Era; readonly item?: string; readonly params: (p: string, u: string) => JsonObject }>> = {
  call:      { method: 'tools/call', item: 'read_note', params: (p) => ({ name: `${p}read_note`, arguments: { text: 'x' } }) },
  prompt:    { method: 'prompts/get', item: 'prompt greet', params: (p) => ({ name: `${p}greet` }) },
  read:      { method: 'resources/read', item: 'resource res://one', params: (_p, u) => ({ uri: `${u}res://one` }) },
  template:  { method: 'resources/read', item: 'template tpl://x/{id}', params: (_p, u) => ({ uri: `${u}tpl://x/7` }) },
  complete:  { method: 'completion/complete', item: 'prompt greet', params: (p) => ({ ref: { type: 'ref/prompt', name: `${p}greet` }, argument }) },
  subscribe: { method: 'resources/subscribe', era: 'legacy', item: 'resource res://one', params: (_p, u) => ({ uri: `${u}res://one` }) },
  list:      { method: 'tools/list', params: () => ({}) },
  prompts:   { method: 'prompts/list', params: () => ({}) },
  resources: { method: 'resources/list', params: () => ({}) },
  level:     { method: 'logging/setLevel', era: 'legacy', params: () => ({ level: 'info' }) },
  ping:      { method: 'ping', era: 'legacy', params: () => ({}) },
};
const WAYS = Object.entries(FAMILIES).flatMap(([family, { era }]) =>
  (era ? [era] : ERAS).flatMap((one) =>
    ['notes', ''].map((endpoint) => [family, one, endpoint === '' ? 'the aggregate' : 'a server', endpoint] as const),
  ),
);

interface Refusal {
  readonly before?: (key: string | undefined) => Promise<() => Promise<unknown>>;
  readonly how?: CallOptions;
  /** Of the log; null: the caller is unknown, and is only counted. */
  readonly reason: RegExp | null;
  readonly status?: number;
  /** Only where the message is about an item. */
  readonly items?: true;
  /** Only where it is about one server. */
  readonly server?: true;
}
const lock = (kind: 'user' | 'agent' | 'server' | 'tool' | 'token', value: string) => async () => {
  const id = await rig.lock({ kind, value });
  return () => rig.unlock(id);
};
const REFUSALS: Readonly<Record<string, Refusal>> = {
  'no token': { how: { headers: { authorization: undefined } }, reason: null, status: 401 },
  'a token that is none': { how: { token: 'x.y.z' }, reason: null, status: 401 },
  'a person nobody knows': { how: { as: 'stranger' }, reason: /^person_unknown$/, status: 403 },
  'a person without a role': { how: { as: 'nobody' }, reason: /^person_without_role$/, status: 403 },
  'a person who left': {
    before: async () => {
      await rig.setPerson('dora', ['developer'], { state: 'inactive' });
      return () => rig.setPerson('dora', ['developer']);
    },
    how: { as: 'dora' },
    reason: /^person_inactive$/,
    status: 403,
  },
  'a locked person': { before: lock('user', 'dora'), how: { as: 'dora' }, reason: /^locked:user:/, status: 403 },
  'a locked agent': {
    before: lock('agent', 'agent-9'),
    how: { client: 'agent-9' },
    reason: /^locked:agent:/,
    status: 403,
  },
  'a locked server': { before: lock('server', 'notes'), reason: /^locked:server:/, server: true },
  'a suspended server': {
    before: async () => {
      await rig.setServer('notes', { state: 'suspended' });
      return async () => {
        await rig.setServer('notes', { state: 'enabled' });
        await rig.look('notes');
      };
    },
    reason: /^server_not_enabled:suspended$/,
    server: true,
  },
  'a locked item': {
    before: async (key) => lock('tool', `notes/${key ?? ''}`)(),
    reason: /^locked:tool:/,
    items: true,
  },
  'a missing scope': { how: { scopes: ['other:scope'] }, reason: /^scope_missing$/, status: 403, items: true },
  'a policy that forbids': {
    before: async () => {
      await rig.policy('no', 'forbid (principal, action, resource);');
      return () => rig.policy('no', null);
    },
    reason: /^policy_denied:/,
    items: true,
  },
};

describe.each(Object.entries(REFUSALS))('%s', (_title, refusal) => {
  const ways = WAYS.filter(
    ([family, , , endpoint]) =>
      (!refusal.items || FAMILIES[family]!.item !== undefined) &&
      (!refusal.server || endpoint !== '' || FAMILIES[family]!.item !== undefined),
  );
  test.each(ways)('PH-04: is refused for %s by a %s client at %s', async (family, era, _where, endpoint) => {
    const { method, params, item } = FAMILIES[family]!;
    const whole = params(endpoint === '' ? 'notes__' : '', endpoint === '' ? 'notes+' : '');
    // Opened while all was well: what changes afterwards must be seen in the session, too.
    const how = { ...refusal.how, era };
    const session = era === 'legacy' ? await ownSession(endpoint, refusal.how ?? {}) : undefined;
    const undo = await refusal.before?.(item);
    const before = rig.sink('notes').received.length;
    const answer = await rig.ask(endpoint, method, whole, { ...how, ...(session !== undefined && { session }) });
    const sent = rig
      .sink('notes')
      .received.slice(before)
      .filter(({ message }) => message?.['method'] === method);
    await undo?.();
    expect(sent).toEqual([]);
    expect(answer.result === undefined || answer.result['isError'] === true).toBe(true);
    if (refusal.status !== undefined) expect(answer.status).toBe(refusal.status);
    const [entry] = await rig.about(answer.reference);
    if (refusal.reason === null) expect(entry).toBeUndefined();
    else expect(entry?.decision?.reason).toMatch(refusal.reason);
  });
});

/** A session of whoever asks, as far as they can have one. */
async function ownSession(endpoint: string, { as = 'dana', client = 'agent-1', token }: CallOptions): Promise<string> {
  const own = token ?? rig.token(as, { server: endpoint, client });
  return rig.openSession(endpoint, own).catch(() => rig.openSession(endpoint, rig.token('dana', { server: endpoint })));
}

test.each(ERAS)('TD-03: what nobody has reviewed is refused like what does not exist, for a %s client', async (era) => {
  for (const [method, params, fake] of [
    ['prompts/get', { name: 'unreviewed' }, { name: 'imaginary' }],
    ['resources/read', { uri: 'res://unreviewed' }, { uri: 'res://imaginary' }],
  ] as const) {
    const answer = await rig.ask('notes', method, params, { era });
    const nothing = await rig.ask('notes', method, fake, { era });
    expect([answer.status, answer.error?.code, answer.error?.message]).toEqual([
      nothing.status,
      nothing.error?.code,
      nothing.error?.message,
    ]);
    expect((await rig.about(answer.reference))[0]?.decision?.reason).toMatch(/^tool_(?:unreviewed|unknown)$/);
  }
});

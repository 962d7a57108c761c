/** Random organisations as records, questions about them, and what the whole pipeline says of each. */
import * as fc from 'fast-check';
import { inspector } from '../../src/content/inspector.ts';
import { pipelineOf, PIPELINE } from '../../src/gateway/pipeline.ts';
import type { Call } from '../../src/gateway/call.ts';
import type { GuardPorts } from '../../src/gateway/guard.ts';
import { inspectionBooks } from '../../src/gateway/inspection-books.ts';
import type { Snapshot } from '../../src/gateway/snapshot.ts';
import type { SupposedCall } from '../../src/gateway/what-if.ts';
import { flowFrom } from '../../src/policy/labels.ts';
import { methodRule } from '../../src/protocol/methods.ts';
import type { StoredRecord } from '../../src/store/state.ts';
import { callerLike } from '../support/caller.ts';
import { textTool } from '../support/rig.ts';
import { BASE, ISSUER, NOW, agent, lock, person, pictureOf, policy, server, stored, tool } from '../gateway/state.ts';
import { policyText } from '../policy/worlds.ts';

/** Cases per world times worlds are 10,000. */
export const INSIDE = { now: NOW, runs: 50, asks: 200 } as const;

export interface Asked {
  readonly subject: string;
  readonly client: string;
  readonly server: string;
  readonly item: string;
  readonly scopes: readonly string[];
  readonly approved: boolean;
  readonly untrusted: boolean;
  readonly private: boolean;
  readonly arguments: Readonly<Record<string, string | number>>;
  readonly signedInAgo: number | null;
  readonly amr: readonly string[];
  readonly actors: readonly string[];
}

/** Mostly the first, now and then one of the others: else most cases end at the first guard. */
const rarely = <T>(usual: T | fc.Arbitrary<T>, ...others: T[]): fc.Arbitrary<T> =>
  fc.oneof(
    { weight: 5, arbitrary: isArbitrary<T>(usual) ? usual : fc.constant(usual) },
    { weight: 1, arbitrary: fc.constantFrom(...others) },
  );
const isArbitrary = <T>(value: T | fc.Arbitrary<T>): value is fc.Arbitrary<T> =>
  typeof value === 'object' && value !== null && 'chain' in value;

const labelsOf = ({ untrusted, private: reserved }: Asked) => ({ untrusted, private: reserved });

const receivedBy = (ask: Asked) => ({ labels: flowFrom(labelsOf(ask)), from: [], unknownText: false });

const SCOPES = ['notes:read', 'notes:write', 'notes:delete'];
const asked: fc.Arbitrary<Asked> = fc.record({
  subject: rarely<string>(fc.constantFrom('dana', 'omar', 'omar'), 'olga', 'gone', 'rita'),
  client: rarely<string>('agent-1', 'agent-2', 'stranger'),
  server: rarely<string>('notes', 'other'),
  item: rarely<string>(
    fc.constantFrom('read_note', 'write_note', 'delete_note', 'delete_note'),
    'fresh_note',
    'no_note',
  ),
  scopes: fc.oneof({ weight: 3, arbitrary: fc.constant(SCOPES) }, { weight: 1, arbitrary: fc.subarray(SCOPES) }),
  approved: fc.constantFrom(false, false, false, true),
  untrusted: fc.constantFrom(false, false, true),
  private: fc.constantFrom(false, false, true),
  arguments: fc.constantFrom({ text: 'a' }, { text: 'a' }, { text: '/tmp/x', count: 3 }, { text: 7 }, {}),
  signedInAgo: fc.constantFrom(null, 60, 5_000),
  amr: fc.constantFrom([], ['pwd'], ['pwd', 'otp']),
  actors: fc.constantFrom([], [], [], ['agent-2']),
});

const texts = fc
  .array(
    policyText(true).map((text) =>
      text
        .replaceAll('Remit::Server::"files"', 'Remit::Server::"notes"')
        .replaceAll('files/delete', 'notes/delete_note')
        .replaceAll('mail/send', 'notes/write_note')
        .replaceAll('person_1', 'omar')
        .replaceAll('client-1', 'agent-1')
        .replaceAll('/path', '/text'),
    ),
    { maxLength: 3 },
  )
  .map((all) => all.map((text, at) => policy(`random.${at}`, text)));

const FRESH_WRITES = `forbid (principal, action == Remit::Action::"callTool", resource == Remit::Tool::"notes/write_note") unless { context.signIn.age <= 900 };`;

const without = (records: readonly StoredRecord[], kind: string, id: string): StoredRecord[] =>
  records.filter((record) => record.kind !== kind || record.id !== id);

export const worlds: fc.Arbitrary<{ readonly view: Snapshot; readonly asks: readonly Asked[] }> = fc
  .record({
    policies: texts,
    groups: fc.subarray(['group_red', 'group_blue']),
    serverState: rarely<string>('enabled', 'suspended'),
    switches: rarely<object>({}, { writes: false }, { reachable: false }, { productionData: false }),
    ceiling: fc.constantFrom({}, { risks: ['read'] }, { servers: ['other'] }, { scopes: ['notes:read'] }),
    agentState: rarely<string>('active', 'suspended'),
    locks: fc.subarray(
      [
        lock('l1', 'user', 'omar'),
        lock('l2', 'tool', 'notes/read_note'),
        lock('l3', 'server', 'other'),
        lock('l4', 'agent', 'agent-2', NOW - 1),
      ],
      { maxLength: 2 },
    ),
    drifted: fc.boolean(),
    fresh: fc.boolean(),
    olga: fc.constantFrom('active', 'inactive'),
    asks: fc.array(asked, { minLength: INSIDE.asks, maxLength: INSIDE.asks }),
  })
  .map(({ policies, groups, serverState, switches, ceiling, agentState, locks, drifted, fresh, olga, asks }) => {
    const REMOVE = textTool('delete_note', 'destructive', 'notes:delete');
    const FRESH = textTool('fresh_note', 'read', 'notes:read');
    const base = without(without(without(BASE, 'server', 'notes'), 'person', 'dana'), 'agent', 'agent-1');
    const view = pictureOf([
      ...base,
      ...policies,
      ...(fresh ? [policy('fresh', FRESH_WRITES)] : []),
      ...locks,
      stored('group', 'group_red', { name: 'red', roles: [] }),
      stored('group', 'group_blue', { name: 'blue', roles: ['operator'] }),
      agent('agent-1', { state: agentState }),
      agent('agent-2', { ceiling }),
      person('dana', ['developer'], { groups }),
      person('olga', ['operator'], { state: olga }),
      person('rita', []),
      server('notes', { state: serverState, switches }),
      server('other'),
      tool('notes', REMOVE),
      tool('notes', FRESH, drifted ? { observed: null } : { approved: null }),
      tool('other', textTool('read_note', 'read', 'notes:read')),
    ]);
    return { view, asks };
  });

const callerOf = (ask: Asked) =>
  callerLike({
    issuer: ISSUER,
    subject: `${ask.subject}@corp`,
    clientId: ask.client,
    scopes: new Set(ask.scopes),
    issuedAt: NOW / 1_000 - 1,
    actChain: [...ask.actors],
    amr: [...ask.amr],
    authTime: ask.signedInAgo === null ? null : NOW / 1_000 - ask.signedInAgo,
    keyThumbprint: 'key',
  });

export const supposedOf = (ask: Asked): SupposedCall => ({
  server: ask.server,
  kind: 'tool',
  name: ask.item,
  caller: callerOf(ask),
  arguments: ask.arguments,
  approved: ask.approved,
  labels: labelsOf(ask),
});

const LOOKS = inspector();
const TABLE = pipelineOf(PIPELINE);

/** All guards of the column, as for a call over the wire; an approval, where there is one, is found by the desk as on a retry. */
export async function admitted(view: Snapshot, ask: Asked): Promise<string> {
  const caller = callerOf(ask);
  const params = { name: ask.item, arguments: ask.arguments };
  const held = ask.approved
    ? { state: 'approved', id: 'a', call: 'sha256:x' }
    : { state: 'pending', id: 'a', expiresAt: NOW + 1 };
  const call = {
    id: 'call',
    startedAt: NOW,
    endpoint: { org: view.org, server: ask.server, resource: 'https://r.example/mcp', metadataUrl: '' },
    message: {
      kind: 'request',
      era: 'modern',
      id: 1,
      method: 'tools/call',
      rule: methodRule('tools/call', 'modern', 'request'),
      params,
      meta: { rest: {} },
      name: ask.item,
    },
    subject: { server: ask.server, kind: 'tool', name: ask.item },
    headers: {},
    rawHeaders: ['Authorization', 'Bearer token'],
    rawUrl: '/mcp',
    httpMethod: 'POST',
    inflight: { signal: new AbortController().signal },
    outlet: { open: false },
    snapshot: view,
    facts: {},
    stoppedBy: null,
    trace: null,
  } as unknown as Call;
  const tools = (id: string) =>
    new Map(
      [...(view.servers.get(id)?.tools.values() ?? [])].flatMap(({ key, record }) =>
        record.observed ? [[key, record.observed.digest] as const] : [],
      ),
    );
  const ports = {
    clock: { now: () => NOW },
    verifier: { cached: () => caller },
    newcomers: { admit: (_view: unknown, _caller: unknown, error: unknown) => Promise.resolve({ ok: false, error }) },
    catalogue: {
      seen: (id: string) => ({ at: NOW, tools: tools(id) }),
      confirm: (entry: { id: string }) => Promise.resolve({ tools: tools(entry.id) }),
    },
    limits: {
      take: () => Promise.resolve({ ok: true }),
      enter: () => null,
      leave: () => undefined,
      loops: { again: () => null },
    },
    approvals: { holdFor: () => Promise.resolve(held) },
    snapshotAgeMs: () => 0,
    freshnessLimitMs: 1_000,
    traces: { peek: () => receivedBy(ask), load: () => Promise.resolve(receivedBy(ask)), recognise: () => [] },
    inspection: { books: inspectionBooks({ open: () => null }), inspector: LOOKS, report: () => undefined },
    laneOf: () => null,
  } as unknown as GuardPorts;
  const denial = await TABLE.admit(call, 'call', ports);
  if (denial === null) return 'allow';
  if (denial.reason === 'guard_failed') throw new Error(JSON.stringify(denial));
  return { approval_needed: 'hold', scope_missing: 'challenge', step_up: 'step_up' }[denial.reason as string] ?? 'deny';
}

import { describe, expect, test } from 'vitest';
import type { HeldApproval } from '../../src/approvals/binding.ts';
import { matching, waiting } from '../../src/approvals/binding.ts';
import type { ExactCall } from '../../src/approvals/call-digest.ts';
import { callDigest } from '../../src/approvals/call-digest.ts';
import {
  cancelApproval,
  decideApproval,
  expireApproval,
  requestApproval,
  useApproval,
} from '../../src/approvals/machine.ts';
import { APPROVAL_STATES, Approval } from '../../src/approvals/records.ts';
import type { Digest } from '../../src/lib/canonical-json.ts';
import { digestOf } from '../../src/lib/canonical-json.ts';

const AT = 1_800_000_000_000;
const TTL = 60_000;
const call: ExactCall = {
  org: 'default',
  person: 'person_a',
  agent: 'client-a',
  server: 'files',
  tool: 'delete',
  definition: digestOf({ name: 'delete' }),
  arguments: { path: '/work/a', options: { force: true, depth: 1 } },
  terms: { risk: 'destructive', scope: 'files:delete', environment: 'production', dataClasses: ['internal'] },
};
const boss = { person: 'person_b', mayDecide: true, ownsAgent: false };
const pending = requestApproval(call, AT, TTL);
const approvedAt = (at: number): Approval => {
  const decided = decideApproval(pending, { by: boss, outcome: 'approved', note: 'ok', at });
  if (!decided.ok) throw new Error(decided.error.code);
  return decided.value;
};
const held = (approval: Approval, id = 'apr_1'): HeldApproval => ({ ...approval, id });

describe('the digest of exactly one call', () => {
  test('is the same for the same call written in another order', () => {
    const same = { ...call, arguments: { options: { depth: 1, force: true }, path: '/work/a' } };
    expect(callDigest(same)).toBe(callDigest(call));
  });
  const changes: Array<[string, Partial<ExactCall>]> = [
    ['organisation', { org: 'other' }],
    ['person', { person: 'person_z' }],
    ['agent', { agent: 'client-z' }],
    ['server', { server: 'files2' }],
    ['tool', { tool: 'delete2' }],
    ['definition', { definition: digestOf({ name: 'delete', description: 'now worse' }) }],
    ['argument', { arguments: { path: '/work/b', options: { force: true, depth: 1 } } }],
    ['nested argument', { arguments: { path: '/work/a', options: { force: true, depth: 2 } } }],
    ['argument more', { arguments: { path: '/work/a', options: { force: true, depth: 1 }, all: true } }],
    ['argument type', { arguments: { path: '/work/a', options: { force: true, depth: '1' } } }],
    ['invisible character', { arguments: { path: '/work/a\u200B', options: { force: true, depth: 1 } } }],
    ['scope', { terms: { ...call.terms, scope: 'files:delete-all' } }],
    ['risk class', { terms: { ...call.terms, risk: 'regulated' } }],
    ['data class', { terms: { ...call.terms, dataClasses: ['internal', 'regulated'] } }],
    ['environment', { terms: { ...call.terms, environment: 'staging' } }],
  ];
  test.each(changes)('AP-07: another %s voids the approval', (_what, change) => {
    const digest = callDigest({ ...call, ...change });
    const approval = approvedAt(AT + 1);
    expect(matching([held(approval)], callDigest(call), AT + 2)).toMatchObject({ id: 'apr_1' });
    expect(matching([held(approval)], digest, AT + 2)).toBeNull();
    expect(useApproval(approval, digest, AT + 2)).toEqual({ ok: false, error: { code: 'approval_other_call' } });
  });
  test('AP-07: twin: a digest over tool and arguments alone would survive a swapped definition', () => {
    const careless = ({ tool, arguments: args }: ExactCall): Digest => digestOf({ tool, args });
    const swapped = { ...call, definition: digestOf({ name: 'delete', description: 'now worse' }) };
    expect(careless(swapped)).toBe(careless(call));
    expect(callDigest(swapped)).not.toBe(callDigest(call));
  });
});

test('a request is a record that the store takes, with the arguments in full', () => {
  expect(Approval.parse(pending)).toEqual(pending);
  expect(pending).toMatchObject({
    state: 'pending',
    arguments: call.arguments,
    requestedAt: AT,
    expiresAt: AT + TTL,
    decidedBy: null,
  });
});

describe('deciding', () => {
  test.each([
    ['AP-03: the requester', { ...boss, person: 'person_a' }, AT, 'approval_self'],
    ['AP-03: the owner of the agent that asked', { ...boss, ownsAgent: true }, AT, 'approval_self'],
    [
      'AP-03: the requester, who is also an approver without the role',
      { person: 'person_a', mayDecide: false, ownsAgent: true },
      AT,
      'approval_self',
    ],
    ['somebody without the role', { ...boss, mayDecide: false }, AT, 'approval_role'],
    ['AP-05: an approver at the moment it ends', boss, AT + TTL, 'approval_expired'],
  ])('refuses %s', (_who, by, at, code) => {
    for (const outcome of ['approved', 'denied'] as const) {
      expect(decideApproval(pending, { by, outcome, note: null, at })).toMatchObject({ ok: false, error: { code } });
    }
  });
  test.each(['approved', 'denied'] as const)('moves once to %s and says by whom', (outcome) => {
    const decided = decideApproval(pending, { by: boss, outcome, note: 'why', at: AT + 5 });
    expect(decided).toEqual({
      ok: true,
      value: {
        ...pending,
        state: outcome,
        decisions: [{ by: 'person_b', outcome, note: 'why', at: AT + 5 }],
        decidedBy: 'person_b',
        decidedAt: AT + 5,
        note: 'why',
      },
    });
  });
});

describe('every state has its ways out and no others', () => {
  const digest = callDigest(call);
  const moves = (approval: Approval): Record<string, string> => {
    const state = (result: { ok: true; value: Approval } | { ok: false; error: { code: string } }): string =>
      result.ok ? result.value.state : result.error.code;
    return {
      approve: state(decideApproval(approval, { by: boss, outcome: 'approved', note: null, at: AT })),
      deny: state(decideApproval(approval, { by: boss, outcome: 'denied', note: null, at: AT })),
      use: state(useApproval(approval, digest, AT)),
      cancel: state(cancelApproval(approval, { person: 'person_a', mayDecide: false }, AT)),
      expire: expireApproval(approval, AT + TTL)?.state ?? 'nothing',
    };
  };
  const no = 'approval_state';
  const TABLE: Record<Approval['state'], Record<string, string>> = {
    pending: { approve: 'approved', deny: 'denied', use: no, cancel: 'cancelled', expire: 'expired' },
    approved: { approve: no, deny: no, use: 'used', cancel: 'cancelled', expire: 'expired' },
    denied: { approve: no, deny: no, use: no, cancel: no, expire: 'nothing' },
    expired: { approve: no, deny: no, use: no, cancel: no, expire: 'nothing' },
    cancelled: { approve: no, deny: no, use: no, cancel: no, expire: 'nothing' },
    failed: { approve: no, deny: no, use: no, cancel: no, expire: 'nothing' },
    used: { approve: no, deny: no, use: no, cancel: no, expire: 'nothing' },
  };
  test.each(APPROVAL_STATES)('%s', (state) => {
    expect(moves({ ...pending, state })).toEqual(TABLE[state]);
  });
  test('AP-02: an approval is spent once', () => {
    const spent = useApproval(approvedAt(AT), digest, AT + 1);
    expect(spent.ok && useApproval(spent.value, digest, AT + 2)).toEqual({
      ok: false,
      error: { code: 'approval_state', state: 'used' },
    });
    expect(spent.ok && matching([held(spent.value)], digest, AT + 2)).toBeNull();
  });
  test('AP-05: after its end it is not found and cannot be spent, even if nobody wrote that down', () => {
    expect(matching([held(approvedAt(AT))], digest, AT + TTL)).toBeNull();
    expect(useApproval(approvedAt(AT), digest, AT + TTL)).toEqual({
      ok: false,
      error: { code: 'approval_expired', expiredAt: AT + TTL },
    });
    expect(matching([held(approvedAt(AT))], digest, AT + TTL - 1)).not.toBeNull();
  });
  test('only the requester or somebody who may decide takes it back', () => {
    expect(cancelApproval(pending, { person: 'person_x', mayDecide: false }, AT)).toEqual({
      ok: false,
      error: { code: 'approval_not_yours' },
    });
    expect(cancelApproval(pending, { person: 'person_x', mayDecide: true }, AT)).toMatchObject({ ok: true });
  });
});

test('a repeated call attaches to the open request, and the approval that ends first is spent first', () => {
  const digest = callDigest(call);
  expect(waiting([held(approvedAt(AT)), held(pending, 'apr_2')], digest, AT)).toMatchObject({ id: 'apr_2' });
  expect(waiting([held(pending)], digest, AT + TTL)).toBeNull();
  const later = { ...approvedAt(AT), expiresAt: AT + 2 * TTL };
  expect(matching([held(later, 'apr_late'), held(approvedAt(AT), 'apr_soon')], digest, AT)).toMatchObject({
    id: 'apr_soon',
  });
});

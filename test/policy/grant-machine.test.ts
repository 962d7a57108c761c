import { describe, expect, test } from 'vitest';
import { GRANT_STEPS, grantStanding, stepGrant } from '../../src/policy/grant-machine.ts';
import type { GrantHand, GrantStep } from '../../src/policy/grant-machine.ts';
import { GRANT_STATES } from '../../src/policy/grants.ts';
import type { Grant } from '../../src/policy/grants.ts';

const AT = 1_800_000_000_000;
const HOUR = 3_600_000;

const grant = (over: Partial<Grant> = {}): Grant => ({
  who: { kind: 'person', id: 'dana' },
  what: { server: 'files', items: ['read'] },
  conditions: [],
  approval: 'by_risk',
  justification: 'ticket',
  expiresAt: null,
  state: 'requested',
  requestedBy: 'dana',
  requestedAt: AT - HOUR,
  decidedBy: null,
  decidedAt: null,
  note: null,
  ...over,
});
const hand = (over: Partial<GrantHand> = {}): GrantHand => ({
  person: 'sven',
  decider: false,
  responder: false,
  beneficiary: false,
  ...over,
});
const EVERYTHING = hand({ decider: true, responder: true });
const STEPS = Object.keys(GRANT_STEPS) as GrantStep[];

describe('the table of steps', () => {
  test.each(STEPS)('%s leads on from its states and from no other', (step) => {
    const who = step === 'cancel' ? { ...EVERYTHING, person: 'dana' } : EVERYTHING;
    const led = GRANT_STATES.filter((state) => stepGrant(grant({ state }), step, who, null, AT).ok);
    expect(led).toEqual(GRANT_STATES.filter((state) => GRANT_STEPS[step].from.includes(state)));
  });

  test('what is denied, cancelled or ended stays so', () => {
    for (const state of ['denied', 'cancelled', 'ended'] as const)
      for (const step of STEPS)
        for (const who of [EVERYTHING, hand({ person: 'dana', decider: true })])
          expect([state, step, stepGrant(grant({ state }), step, who, null, AT).ok]).toEqual([state, step, false]);
  });

  test('AZ-11: no step into use is taken by whoever asked or gets it, whatever else they may', () => {
    for (const step of STEPS.filter((one) => GRANT_STEPS[one].to === 'active')) {
      const state = GRANT_STEPS[step].from[0]!;
      const tried = (who: Partial<GrantHand>) => stepGrant(grant({ state }), step, { ...EVERYTHING, ...who }, null, AT);
      expect(tried({ person: 'dana' })).toEqual({ ok: false, error: { code: 'grant_requester' } });
      expect(tried({ beneficiary: true })).toEqual({ ok: false, error: { code: 'grant_beneficiary' } });
      expect(tried({ decider: false })).toEqual({ ok: false, error: { code: 'grant_not_yours' } });
      expect(tried({}).ok).toBe(true);
    }
  });

  test('AZ-11 twin: without the second person the requester lets themselves in', () => {
    const alone = { ...EVERYTHING, person: 'dana', beneficiary: true, alone: true };
    expect(stepGrant(grant(), 'approve', alone, null, AT)).toMatchObject({ ok: true, value: { state: 'active' } });
  });

  test('taking access away takes one person: a responder, who decides, who has it', () => {
    for (const who of [hand({ responder: true }), hand({ decider: true }), hand({ beneficiary: true })])
      expect(stepGrant(grant({ state: 'active' }), 'end', who, 'over', AT).ok).toBe(true);
    expect(stepGrant(grant({ state: 'active' }), 'end', hand(), 'over', AT)).toEqual({
      ok: false,
      error: { code: 'grant_not_yours' },
    });
  });
});

describe('time', () => {
  test('AZ-07: an elevation gets its end from the yes, and resuming it gives it no new one', () => {
    const asked = grant({ lastsMs: HOUR });
    const active = stepGrant(asked, 'approve', EVERYTHING, null, AT);
    expect(active).toMatchObject({ ok: true, value: { expiresAt: AT + HOUR, decidedBy: 'sven', decidedAt: AT } });
    if (!active.ok) return;
    const suspended = { ...active.value, state: 'suspended' as const };
    expect(stepGrant(suspended, 'resume', EVERYTHING, null, AT + 1)).toMatchObject({
      ok: true,
      value: { expiresAt: AT + HOUR },
    });
    expect(stepGrant(suspended, 'resume', EVERYTHING, null, AT + HOUR)).toEqual({
      ok: false,
      error: { code: 'grant_over', expiresAt: AT + HOUR },
    });
  });

  test.each([
    ['requested', {}, 'requested'],
    ['active without an end', { state: 'active' }, 'active'],
    ['active a moment before its end', { state: 'active', expiresAt: AT + 1 }, 'active'],
    ['active at its end', { state: 'active', expiresAt: AT }, 'over'],
    ['active before its beginning', { state: 'active', startsAt: AT + 1 }, 'waiting'],
    ['active at its beginning', { state: 'active', startsAt: AT }, 'active'],
    ['suspended past its end', { state: 'suspended', expiresAt: AT }, 'over'],
    ['ended', { state: 'ended', expiresAt: AT }, 'ended'],
  ] as const)('AZ-07: %s stands as %s', (_, over, standing) => {
    expect(grantStanding(grant(over), AT)).toBe(standing);
  });
});

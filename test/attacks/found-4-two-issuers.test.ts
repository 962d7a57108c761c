/** One person under two issuers that both know a client by the same id: two agents, two ceilings, and what the one is shown is not the other's list. */
import { afterEach, expect, test } from 'vitest';
import { createTokenVerifier } from '../../src/identity/access-token.ts';
import type { TokenVerifier } from '../../src/identity/access-token.ts';
import { agentKey } from '../../src/inventory/agents.ts';
import { startIssuer } from '../support/issuer.ts';
import { ALL_SCOPES, startRig } from '../support/rig.ts';

const closers: Array<() => Promise<unknown>> = [];
afterEach(async () => {
  for (const close of closers.splice(0)) await close();
});

test('ID-06: a list made for an agent without a ceiling is not shown to its namesake under one', async () => {
  const second = await startIssuer();
  const { issuer } = second;
  const other = createTokenVerifier({
    issuers: [{ issuer, jwksUri: second.jwksUri }],
    fetchJwks: async (url) => (await fetch(url)).json(),
  });
  const rig = await startRig({
    wrap(deps) {
      const { verifier } = deps;
      const both: TokenVerifier = {
        ...verifier,
        verify: async (...asked) => {
          const found = await verifier.verify(...asked);
          return found.ok ? found : other.verify(...asked);
        },
        cached: (...asked) => verifier.cached(...asked) ?? other.cached(...asked),
      };
      return { ...deps, verifier: both };
    },
  });
  closers.push(
    () => rig.stop(),
    () => second.close(),
  );
  const agent = {
    issuer,
    clientId: 'agent-1',
    title: 'The namesake',
    kind: 'delegate',
    state: 'active',
    roles: [],
    ceiling: { risks: ['read'] },
  };
  const issuers = [rig.issuer.issuer, issuer];
  const organisation = { title: 'Test', issuers, newAgents: 'active' };
  await rig.commit([
    { kind: 'organisation', org: 'default', id: 'default', body: organisation },
    { kind: 'agent', org: 'default', id: 'namesake', key: agentKey(issuer, 'agent-1'), body: agent },
  ]);
  await rig.setPerson('dana', ['developer'], { also: [{ issuer, subject: 'dana' }] });

  const bounded = second.mint({
    sub: 'dana',
    client_id: 'agent-1',
    scope: ALL_SCOPES.join(' '),
    aud: rig.resource('notes'),
  });
  // So that the first agent has its record before the lists are made.
  await rig.names('notes');
  expect(await rig.names('notes')).toEqual(['read_note', 'write_note']);
  expect(await rig.names('notes', { token: bounded })).toEqual(['read_note']);
});

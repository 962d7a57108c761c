/** What was contained is told once, bounded, and never holds up or fails whoever reports it. */
import { join } from 'node:path';
import { expect, onTestFinished, test } from 'vitest';
import { openView } from '../../src/cli/state-view.ts';
import { incidentId, incidentLog } from '../../src/gateway/incidents.ts';
import type { Incident } from '../../src/gateway/incidents.ts';
import { IncidentRecord } from '../../src/inventory/incidents.ts';
import { openSqliteState } from '../../src/store/sqlite/state.ts';
import { ORG, openLog, tempDir } from '../audit/fixtures.ts';
import { memoryLedger } from '../support/memory-ledger.ts';

async function start() {
  const { audit, clock, ledger } = await openLog(memoryLedger());
  const state = await openSqliteState(join(tempDir(), 'state.db'));
  const view = await openView(state, clock);
  onTestFinished(async () => {
    await view.stop();
    await state.close();
  });
  const said: string[] = [];
  const incidents = incidentLog({
    org: ORG,
    clock,
    audit,
    state,
    record: (id) => view.get('incident', ORG, id),
    log: (level, _fields, message) => void said.push(`${level} ${message}`),
  });
  const entries = () =>
    ledger
      .texts(ORG)
      .map((text) => JSON.parse(text) as { kind: string; event?: Record<string, unknown> })
      .filter(({ kind }) => kind === 'incident')
      .map(({ event }) => event);
  const records = async () => {
    await view.advanceTo(await state.head());
    return [...view.records('incident', ORG)].map(({ id, body }) => ({ id, ...IncidentRecord.parse(body) }));
  };
  return { incidents, entries, records, clock, ledger, said, state };
}

const refused = (server: string): Incident => ({
  what: 'egress_refused',
  subject: `server/${server}`,
  facts: { host: 'evil.example', port: 443 },
});
const planted: Incident = { what: 'honeytoken', subject: 'honeytoken/payroll', facts: { server: 'mail' } };

test('of one kind and subject six a minute are in the log; what more there was is counted in the next one', async () => {
  const { incidents, entries, clock } = await start();
  for (let i = 0; i < 50; i++) await incidents.report(refused('a'));
  await incidents.report(refused('b'));
  expect(entries().map((event) => [event?.['subject'], event?.['more']])).toEqual([
    ...Array.from({ length: 6 }, () => ['server/a', undefined]),
    ['server/b', undefined],
  ]);
  clock.advance(60_000);
  await incidents.report(refused('a'));
  expect(entries().at(-1)).toEqual({
    what: 'egress_refused',
    subject: 'server/a',
    host: 'evil.example',
    port: 443,
    more: 44,
  });
  expect([incidents.count('egress_refused', 'server/a'), incidents.count('egress_refused', 'server/c')]).toEqual([
    51, 0,
  ]);
});

test('CI-07: an alarm is one open record, however often it is raised; a notice is none', async () => {
  const { incidents, records, clock } = await start();
  await incidents.report(refused('a'));
  for (let i = 0; i < 3; i++) await incidents.report(planted);
  const openedAt = clock.now();
  const id = incidentId('honeytoken', 'honeytoken/payroll');
  expect(await records()).toEqual([{ id, ...planted, openedAt }]);
});

test('one that was closed opens again', async () => {
  const { incidents, records, clock, state } = await start();
  await incidents.report(planted);
  const [first] = await records();
  const { id, ...body } = first!;
  const closed = { by: 'ada', at: clock.now(), reason: 'a drill' };
  await state.commit({
    actor: 'ada',
    reason: 'closed',
    writes: [{ kind: 'incident', org: ORG, id, body: { ...body, closed } }],
  });
  await records();
  clock.advance(5_000);
  await incidents.report(planted);
  expect(await records()).toEqual([{ id, ...planted, openedAt: clock.now() }]);
});

test('a log that takes nothing is said to the operator, and whoever reports goes on', async () => {
  const { incidents, ledger, said } = await start();
  ledger.faults.append = 'refuse';
  await incidents.report(planted);
  expect(said).toEqual(['warn contained', 'error incident not recorded']);
});

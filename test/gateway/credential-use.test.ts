/** Credentials at call time, through a whole gateway: the values that the sink received are the oracle. */
import { afterEach, describe, expect, test } from 'vitest';
import { Credential, sealedSecretId } from '../../src/inventory/credentials.ts';
import type { JsonObject } from '../../src/lib/json.ts';
import type { Write } from '../../src/store/state.ts';
import { upstreamPool } from '../../src/upstream/pool.ts';
import { ORG, type Rig, startRig } from '../support/rig.ts';
import { httpServer, until } from '../support/upstreams/open.ts';

let rig: Rig;
afterEach(async () => rig?.stop());

const DAY = 86_400_000;
const secret = { secret: 'credential:github' };
const headers = [
  { name: 'Authorization', value: secret },
  { name: 'X-Second', value: secret },
];

/** A credential as the admin plane writes it, with its value sealed. */
async function writes(value: string, version: string, more: Partial<Credential> = {}): Promise<Write[]> {
  const now = rig.clock.now();
  const body = Credential.parse({
    title: 'Token of GitHub',
    owner: 'omar',
    purpose: 'reads issues',
    environment: 'production',
    state: 'enabled',
    source: { kind: 'sealed' },
    servers: ['notes'],
    maxAgeDays: 30,
    versions: [
      { id: version, fingerprint: rig.broker.vault.fingerprint(value), at: now, by: 'omar', expiresAt: now + 7 * DAY },
    ],
    ...more,
  }) as JsonObject;
  const jwe = await rig.broker.vault.seal(value, 'github', version);
  return [
    { kind: 'credential', org: ORG, id: 'github', body },
    { kind: 'sealed_secret', org: ORG, id: sealedSecretId('github', version), body: { jwe } },
  ];
}

async function start(era: 'modern' | 'legacy' = 'modern', more: Partial<Credential> = {}): Promise<void> {
  rig = await startRig({ servers: {} });
  await rig.commit(await writes('first-value-0001', 'v1'));
  await rig.addServer('notes', { era, upstream: { headers } });
  if (Object.keys(more).length > 0) await rig.commit(await writes('first-value-0001', 'v1', more));
}

const read = (text = 'hi') => rig.call('notes', 'read_note', { text });
const sent = (): string[] =>
  rig
    .sink()
    .calls()
    .map(({ headers: got }) => String(got['authorization']));

describe.each(['modern', 'legacy'] as const)('%s', (era) => {
  test('NH-03: a credential is rotated under load with no failed call; the server sees both values, and never a mix', async () => {
    await start(era);
    rig.sink().onCall(async () => {
      await new Promise((resolve) => setTimeout(resolve, 10));
      return { content: [{ type: 'text', text: 'read' }] };
    });
    const answers: Promise<{ readonly result: JsonObject | undefined; readonly text: string }>[] = [];
    const over = new AbortController();
    let open = 0;
    const load = (async () => {
      while (!over.signal.aborted) {
        // As many at once as a busy machine can still answer: the places of one person are not what this is about.
        if (open < 50) {
          open++;
          answers.push(read().finally(() => open--));
        }
        await new Promise((resolve) => setTimeout(resolve, 10));
      }
    })();
    await until('calls with the first value', () => sent().length > 20);
    for (const round of [2, 3, 4]) {
      const value = `value-number-000${round}`;
      await rig.commit(await writes(value, `v${round}`));
      await until(`calls with ${value}`, () => sent().filter((one) => one === value).length > 20);
    }
    over.abort();
    await load;
    const settled = await Promise.all(answers);
    expect(settled.filter(({ result }) => result?.['content'] === undefined || result['isError'] === true)).toEqual([]);
    expect(settled.length).toBeGreaterThan(80);
    expect(new Set(sent())).toEqual(
      new Set(['first-value-0001', 'value-number-0002', 'value-number-0003', 'value-number-0004']),
    );
    for (const { headers: got } of rig.sink().calls()) expect(got['x-second']).toBe(got['authorization']);
    // Once the new one is in use the old one is not used for anything that begins.
    const order = [...new Set(sent())];
    expect(order).toEqual([...order].toSorted((a, b) => sent().indexOf(a) - sent().indexOf(b)));
  }, 120_000);
});

test('a call that is under way on the old value ends in its own time, and the connection goes then', async () => {
  await start();
  let finish: () => void = () => undefined;
  const slow = new Promise<void>((resolve) => (finish = resolve));
  rig.sink().onCall(async ({ request }) => {
    if (request.body.includes('slow')) await slow;
    return { content: [{ type: 'text', text: 'done' }] };
  });
  const under = read('slow');
  await until('it is under way', () => sent().length === 1);
  await rig.commit(await writes('value-number-0002', 'v2'));
  await until('the new value', async () => (await read('quick'), sent().includes('value-number-0002')));
  finish();
  expect((await under).result).toMatchObject({ content: [{ text: 'done' }] });
});

describe('who may not have it', () => {
  const refused: ReadonlyArray<readonly [string, Partial<Credential>, string]> = [
    ['NH-03: suspended', { state: 'suspended' }, 'not enabled'],
    ['NH-07: of another environment', { environment: 'staging' }, 'is of staging and the server notes of production'],
    ['NH-08: of another server', { servers: ['other'] }, 'does not name the server notes'],
    ['NH-03: without a value', { versions: [] }, 'has no value'],
  ];
  test.each(refused)('%s: no value leaves, and what runs with it ends', async (_name, more, why) => {
    await start();
    expect((await read()).result).toMatchObject({ content: [{}] });
    await rig.commit(await writes('first-value-0001', 'v1', more));
    const before = rig.sink().received.length;
    const answer = await read();
    expect(answer.result).toMatchObject({ isError: true });
    expect(
      rig
        .sink()
        .received.slice(before)
        .filter(({ headers: got }) => got['authorization'] !== undefined && got['mcp-session-id'] === undefined),
    ).toEqual([]);
    expect(JSON.stringify(rig.pool.events)).toContain(why);
    expect(answer.text).not.toContain('first-value');
  });

  test('NH-03: a value that ends by itself, or is too old, is not used from that moment on', async () => {
    await start();
    const now = rig.clock.now();
    const version = {
      id: 'v1',
      fingerprint: rig.broker.vault.fingerprint('first-value-0001'),
      at: now,
      by: 'omar',
      expiresAt: now + 400,
    };
    await rig.commit(await writes('first-value-0001', 'v1', { versions: [version] }));
    expect((await read()).result).toMatchObject({ content: [{}] });
    await until('it ends', () => rig.clock.now() > now + 400);
    const before = sent().length;
    expect((await read()).result).toMatchObject({ isError: true });
    await rig.commit(await writes('first-value-0001', 'v1', { versions: [{ ...version, expiresAt: null }] }));
    expect((await read()).result).toMatchObject({ isError: true });
    const old = { ...version, at: now - 31 * DAY, expiresAt: now + DAY };
    await rig.commit(await writes('first-value-0001', 'v1', { versions: [old] }));
    expect((await read()).result).toMatchObject({ isError: true });
    expect(sent()).toHaveLength(before);
  });

  test('NH-06: a lock on the credential ends the call under way and refuses the next; without it the value is there again', async () => {
    await start();
    rig.sink().onCall(({ gone }) => gone.then(() => ({ content: [] })));
    const under = read('under way');
    await until('it is under way', () => sent().length === 1);
    const lock = await rig.lock({ kind: 'credential', value: 'github' });
    expect((await under).result).toMatchObject({ isError: true });
    rig.sink().onCall(() => ({ content: [{ type: 'text', text: 'again' }] }));
    expect((await read()).result).toMatchObject({ isError: true });
    expect(sent()).toHaveLength(1);
    await rig.unlock(lock);
    expect((await read()).result).toMatchObject({ content: [{ text: 'again' }] });
  });

  test('the twin: a pool that does not ask the book keeps on sending a suspended credential', async () => {
    await start();
    const careless = upstreamPool({
      clock: rig.clock,
      startProcess: () => Promise.reject(new Error('no processes here')),
      resolveSecret: async () => 'first-value-0001',
      log: () => undefined,
    });
    await rig.commit(await writes('first-value-0001', 'v1', { state: 'suspended' }));
    const connection = await careless.connection('notes', httpServer(rig.sink().url, { era: 'modern', headers }));
    await connection.request(
      { method: 'tools/call', params: { name: 'read_note', arguments: { text: 'x' } } },
      AbortSignal.timeout(30_000),
    );
    expect(sent()).toContain('first-value-0001');
    await careless.closeAll();
  });
});

test('AN-12: a value is on no disk, in no entry, no answer and no log line in clear', async () => {
  await start();
  await read();
  rig.sink().onCall(({ request }) => ({ content: [{ type: 'text', text: JSON.stringify(request.headers) }] }));
  const echoed = await read();
  expect(sent()).toContain('first-value-0001');
  const seen = [
    echoed.text,
    JSON.stringify(rig.logged),
    JSON.stringify(rig.pool.events),
    JSON.stringify(await rig.entries()),
    rig.disk(),
  ];
  for (const text of seen) expect(text).not.toContain('first-value-0001');
});

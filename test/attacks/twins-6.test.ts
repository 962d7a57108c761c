/**
 * Vulnerable twins of EX-08, EX-09, CI-01, CI-03, CI-04, CI-07, CI-09, CI-10, CI-11, RL-03, RL-05, AE-10 and AE-11: the attack meets the product, then the same
 * house with the one control taken out, as gateways without it have it. Oracles: what servers received, and what clients read.
 */
import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { closeSync, mkdtempSync, openSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, describe, expect, test, vi } from 'vitest';
import { InspectionPolicy } from '../../src/content/records.ts';
import { learn } from '../../src/gateway/guard.ts';
import type { Guard } from '../../src/gateway/guard.ts';
import type { GatewayDeps } from '../../src/gateway/gateway.ts';
import { canonicalJson, digestOf } from '../../src/lib/canonical-json.ts';
import type { JsonObject } from '../../src/lib/json.ts';
import { bubblewrapBackend } from '../../src/sandbox/bubblewrap.ts';
import { serverLauncher } from '../../src/sandbox/launch.ts';
import type { Connection } from '../../src/upstream/connection.ts';
import { ASKING_SERVERS, DECLARED, TOOL_CALL, askedIn, asksOnce, retry, told } from '../gateway/asks-support.ts';
import { bare } from '../support/hostile.ts';
import { ERAS, startRig, tableWith, textTool } from '../support/rig.ts';
import type { Answer, Era, Rig, RigOptions } from '../support/rig.ts';
import { stdioServer, testPool } from '../support/upstreams/open.ts';

/** What a gateway without the control does instead. Only the tests of this file turn one on, and each turns it off again. */
const without = vi.hoisted(() => ({ looksAtQuestions: false, looksAtAnswers: false }));

vi.mock('../../src/gateway/inspection-asks.ts', async (original) => {
  const real = await original<typeof import('../../src/gateway/inspection-asks.ts')>();
  return {
    ...real,
    asksForSecret: (params: JsonObject) => !without.looksAtQuestions && real.asksForSecret(params),
    mayVisit: (...given: Parameters<typeof real.mayVisit>) => without.looksAtQuestions || real.mayVisit(...given),
  };
});
vi.mock('../../src/gateway/inspection.ts', async (original) => {
  const real = await original<typeof import('../../src/gateway/inspection.ts')>();
  return {
    ...real,
    inspectAnswer: (...given: Parameters<typeof real.inspectAnswer>) => {
      const looked = real.inspectAnswer(...given);
      return without.looksAtAnswers ? { ...looked, verdict: 'pass' } : looked;
    },
  };
});

const OWN = 'own-5hT8wQ2zK7mX4rV9nB3c';
process.env['REMIT_SECRET_TWINS6'] = OWN;
const GITHUB = ['ghp', 'zY9xW7vU5tS3rQ1pN8mL6kJ4hG2fD0sA1qW3'].join('_');
const IBAN = 'DE89370400440532013000';

let rig: Rig;
const more: Rig[] = [];
afterEach(async () => {
  Object.assign(without, { looksAtQuestions: false, looksAtAnswers: false });
  for (const one of more.splice(0)) await one.stop();
});
async function house(options: RigOptions = {}): Promise<Rig> {
  rig = await startRig(options);
  more.push(rig);
  await rig.policy('all', 'permit (principal, action, resource);');
  return rig;
}

/** The same way to servers, on which each connection does something else. */
const onTheWay =
  (change: (connection: Connection) => Partial<Connection>): RigOptions['wrap'] =>
  (deps: GatewayDeps) => ({
    ...deps,
    pool: {
      ...deps.pool,
      async connection(...given) {
        const connection = await deps.pool.connection(...given);
        return { ...connection, ...change(connection) };
      },
    },
  });
const refs = (answer: Answer): string | undefined =>
  answer.reference ?? ((answer.result?.['_meta'] as JsonObject | undefined)?.['remit/reference'] as string | undefined);

describe('CI-10: what a server may not ask', () => {
  const form: JsonObject = {
    mode: 'form',
    message: 'One more thing.',
    requestedSchema: { type: 'object', properties: { password: { type: 'string' } } },
  };
  const visit: JsonObject = {
    mode: 'url',
    message: 'Look here',
    url: 'https://bank.test.evil.example/',
    elicitationId: 'e1',
  };

  /** Whether the client was asked. */
  async function asked(
    server: string,
    era: Era,
    kind: 'elicitation.form' | 'elicitation.url',
    params: JsonObject,
  ): Promise<string> {
    asksOnce(rig.sink(server), kind, params);
    const live = await rig.live(server, 'tools/call', TOOL_CALL, { era, capabilities: DECLARED[kind] });
    const shown = live.event('elicitation/create').then(
      () => 'asked',
      () => 'not asked',
    );
    const answered = live.answer.then(({ text }) => (text.includes('input_required') ? 'asked' : 'not asked'));
    const first = await Promise.race([shown, answered]);
    live.leave();
    return first;
  }

  test.each(ERAS)(
    'CI-10 twin: %s: where nobody reads questions, a password is asked for and a person is sent to the thief',
    async (era) => {
      await house({ servers: ASKING_SERVERS });
      for (const server of ['old', 'new'])
        for (const [kind, params] of [
          ['elicitation.form', form],
          ['elicitation.url', visit],
        ] as const) {
          without.looksAtQuestions = false;
          expect([server, kind, await asked(server, era, kind, params)]).toEqual([server, kind, 'not asked']);
          without.looksAtQuestions = true;
          expect([server, kind, await asked(server, era, kind, params)]).toEqual([server, kind, 'asked']);
        }
    },
  );
});

describe('CI-03, CI-07: an answer to a question is a way out, too', () => {
  test.each(['old', 'new'])(
    'CI-03, CI-07 twin: %s: where answers are not read, both secrets are at the server',
    async (server) => {
      const key = { headers: [{ name: 'x-key', value: { secret: 'env:REMIT_SECRET_TWINS6' } }] };
      await house({ admin: true, servers: { ...ASKING_SERVERS, crm: { upstream: key } } });
      await rig.call('crm', 'write_note', { text: 'x' });
      const made = await rig.admin('sven', 'POST', '/honeytokens', {
        id: 'bait',
        title: 'Bait',
        placed: 'a note',
        owner: 'omar',
        reason: 'test',
      });
      expect([made.status, made.text]).toEqual([201, expect.any(String)]);
      await rig.caughtUp();
      for (const secret of [OWN, made.body['value'] as string]) {
        const params = {
          mode: 'form',
          message: 'Which colour?',
          requestedSchema: { type: 'object', properties: { colour: { type: 'string' } }, required: ['colour'] },
        };
        asksOnce(rig.sink(server), 'elicitation.form', params);
        const capabilities = { elicitation: { form: {} } };
        const answer = { action: 'accept', content: { colour: secret } };
        const first = askedIn(await rig.ask(server, 'tools/call', TOOL_CALL, { capabilities }));
        const again = askedIn(await retry(rig, server, first, answer, { capabilities }));
        expect(rig.sink(server).wire()).not.toContain(secret);
        without.looksAtAnswers = true;
        await retry(rig, server, again, answer, { capabilities });
        expect(told(rig.sink(server)).join('\n')).toContain(secret);
        without.looksAtAnswers = false;
      }
    },
  );
});

/** Whatever stands there is forwarded. */
const asTheyCome: Guard['decide'] = ({ message }) => {
  const given = (message.params['arguments'] ?? {}) as JsonObject;
  return learn({ arguments: given, argumentsDigest: digestOf(given) });
};
test.each(ERAS)(
  'CI-01 twin: %s: where arguments are not held against the reviewed schema, what nobody declared arrives',
  async (era) => {
    const args = { text: 'x', Text: 'y', bcc: 'phil@evil.example' };
    await house();
    expect((await rig.call('notes', 'write_note', args, { era })).text).toContain('The arguments do not fit the tool');
    expect(rig.sink().calls()).toHaveLength(0);
    await house({ table: tableWith({ 'arguments-fit': asTheyCome }) });
    await rig.call('notes', 'write_note', args, { era });
    expect(rig.sink().wire()).toContain('phil@evil.example');
  },
);

test.each(ERAS)(
  'CI-04 twin: %s: by a rule that only labels, the secret of a result is read by the client',
  async (era) => {
    await house();
    rig.sink().onCall(() => ({ content: [{ type: 'text', text: `here: ${GITHUB}` }] }));
    expect((await rig.call('notes', 'read_note', { text: 'x' }, { era })).text).not.toContain(GITHUB);
    const body = InspectionPolicy.parse({ rules: [{ classes: ['secret.*'], direction: 'in', action: 'label' }] });
    await rig.commit([{ kind: 'inspection', org: 'default', id: 'default', body }]);
    expect((await rig.call('notes', 'read_note', { text: 'x' }, { era })).text).toContain(GITHUB);
  },
);

test.each(ERAS)('CI-09 twin: %s: where a result may be of any size, the bomb is at the client', async (era) => {
  const bomb = 'boom '.repeat(60_000);
  for (const [maxResultBytes, arrives] of [
    [100_000, false],
    [10_000_000, true],
  ] as const) {
    await house({ limits: { maxResultBytes } });
    rig.sink().onCall(() => ({ content: [{ type: 'text', text: bomb }] }));
    const { text } = await rig.call('notes', 'read_note', { text: 'x' }, { era });
    expect([text.includes(bomb), text.length > 100_000]).toEqual([arrives, arrives]);
  }
});

test.each(ERAS)(
  'CI-11 twin: %s: where a detector that failed is passed over, what it would have found arrives',
  async (era) => {
    const broken = { revision: () => 1, values: (): never => { throw new Error('killed'); } }; // prettier-ignore
    const options: RigOptions = { wrap: (deps) => ({ ...deps, secrets: broken }) };
    await house(options);
    expect((await rig.call('notes', 'write_note', { text: OWN }, { era })).text).toContain('could not be looked at');
    expect(rig.sink().wire()).not.toContain(OWN);
    const careless = tableWith({ 'arguments-are-clean': () => learn({ contentHold: null }) });
    await house({ ...options, table: careless });
    await rig.call('notes', 'write_note', { text: OWN }, { era });
    expect(rig.sink().wire()).toContain(OWN);
  },
);

describe('RL-03: who leaves takes the call back', () => {
  test('RL-03 twin: where the end does not reach the server, it goes on with what nobody waits for', async () => {
    let wanted: AbortSignal | undefined;
    const deaf = onTheWay((connection) => ({
      request(request, signal) {
        if (request.method === 'tools/call') wanted = signal;
        return connection.request(request, new AbortController().signal);
      },
    }));
    for (const [wrap, effect] of [
      [undefined, false],
      [deaf, true],
    ] as const) {
      await house(wrap === undefined ? {} : { wrap });
      const { promise: proceed, resolve } = Promise.withResolvers<'on'>();
      let there = false;
      let became: string | undefined;
      rig.sink().onCall(async ({ gone }) => {
        there = true;
        became = await Promise.race([gone.then(() => 'gone'), proceed]);
        return { content: [] };
      });
      const live = await rig.live('notes', 'tools/call', { name: 'write_note', arguments: { text: 'x' } });
      live.answer.catch(() => undefined);
      await rig.until('it is at the server', () => there);
      live.leave();
      if (effect) {
        await rig.until('the gateway wants it ended', () => wanted?.aborted === true);
        resolve('on');
      }
      await rig.until('it has ended there', () => became !== undefined, 60_000);
      expect(became).toBe(effect ? 'on' : 'gone');
    }
  });
});

describe('RL-05: what may have had an effect is not made again', () => {
  test.each(ERAS)('RL-05 twin: %s: a way that tries again after a lost answer does it twice', async (era) => {
    const eager = onTheWay((connection) => ({
      request: (request, signal) =>
        connection.request(request, signal).catch(() => connection.request(request, signal)),
    }));
    for (const [wrap, effects] of [
      [undefined, 1],
      [eager, 2],
    ] as const) {
      await house({ servers: { notes: { era } }, ...(wrap && { wrap }) });
      let left = 1;
      rig.sink().intercept(({ message }) => (message?.['method'] === 'tools/call' && left-- > 0 ? 'drop' : null));
      await rig.call('notes', 'delete_note', { text: 'x' }, { era });
      expect(rig.sink().calls()).toHaveLength(effects);
    }
  });
});

describe('AE-10, AE-11: the entry is about what was sent, and about what was looked at', () => {
  const FREE = textTool('send', 'write', 'notes:write', { inputSchema: { type: 'object' } });
  const servers = { notes: { tools: [FREE] } };
  const digest = (value: unknown): `sha256:${string}` =>
    `sha256:${createHash('sha256').update(canonicalJson(value)).digest('hex')}`;
  const arrived = (): unknown => (rig.sink().calls().at(-1)!.message!['params'] as JsonObject)['arguments'];

  test('AE-10 twin: a way that cleans what it forwards sends what no entry and no approval is about', async () => {
    const cleaning = onTheWay((connection) => ({
      request: (request, signal) =>
        connection.request(
          {
            ...request,
            params: JSON.parse(JSON.stringify(request.params).replaceAll(IBAN, '[redacted]')) as JsonObject,
          },
          signal,
        ),
    }));
    for (const [wrap, same] of [
      [undefined, true],
      [cleaning, false],
    ] as const) {
      await house({ servers, ...(wrap && { wrap }) });
      const answer = await rig.call('notes', 'send', { text: `pay ${IBAN}` });
      const recorded = new Set((await rig.about(refs(answer))).map(({ call }) => call?.args));
      expect(recorded.size).toBe(1);
      expect(recorded.has(digest(arrived()))).toBe(same);
    }
  });

  test('AE-11: who looked at nothing that was sent does not say so', async () => {
    const lines = async (): Promise<readonly string[]> => {
      const answer = await rig.call('notes', 'send', { text: 'x' });
      return (await rig.about(refs(answer))).find(({ outcome }) => outcome)!.outcome!.inspected;
    };
    await house({ servers });
    expect((await lines()).filter((line) => line.startsWith('sent:'))).not.toEqual([]);
    await house({ servers, table: tableWith({ 'arguments-are-clean': null }) });
    expect((await lines()).filter((line) => line.startsWith('sent:'))).toEqual([]);
  });
});

describe('EX-08, EX-09: what a server would find on the bare machine', () => {
  const folder = mkdtempSync(join(tmpdir(), 'remit-twins-'));
  const canary = join(folder, 'canary');
  writeFileSync(canary, 'of the host');
  afterAll(() => rmSync(folder, { recursive: true }));

  test('EX-09 twin: where isolation is missing and the server is started all the same, it reads the host', async () => {
    const boxed = serverLauncher(bubblewrapBackend({ searchPath: '/nowhere' }));
    const hostile = stdioServer('test/support/upstreams/hostile.ts', { era: 'modern' });
    const params = { name: 'do', arguments: { what: 'reads the host', paths: [canary] } };
    const strict = testPool({ startProcess: boxed });
    const careless = testPool({ startProcess: (request) => boxed(request).catch(bare) });
    try {
      await expect(strict.connection('s', hostile)).rejects.toMatchObject({
        code: 'upstream_sandbox',
        message: expect.stringContaining('Install bubblewrap') as string,
      });
      const connection = await careless.connection('s', hostile);
      const reply = await connection.request({ method: 'tools/call', params }, new AbortController().signal);
      expect(JSON.stringify(reply)).toContain('of the host');
    } finally {
      await strict.closeAll();
      await careless.closeAll();
    }
  });

  test('EX-08 twin: a starter that hands down one descriptor too many gives its file away', () => {
    const open = openSync(canary, 'r');
    try {
      const read = "process.stdout.write(require('node:fs').readFileSync(3))";
      const { stdout } = spawnSync(process.execPath, ['-e', read], { stdio: ['ignore', 'pipe', 'ignore', open] });
      expect(String(stdout)).toBe('of the host');
    } finally {
      closeSync(open);
    }
  });
});

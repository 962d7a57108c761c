/**
 * RL-09: a thousand clients that trickle, stall, hoard or abandon, beside neighbours who only want their calls. Loopback, bounded in count and
 * time. Oracles: the neighbours' answers and times (with a floor, the machine is shared), when each slow connection is ended, and a twin:
 * the same clients at a server with node's limits off, which keeps every one of them.
 */
import { createServer } from 'node:http';
import { connect } from 'node:net';
import type { AddressInfo, Socket } from 'node:net';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { JSON_HEADERS, modernHeaders, modernMessage, startRig } from '../support/rig.ts';
import type { Rig } from '../support/rig.ts';

const PEOPLE = Object.fromEntries([
  ...Array.from({ length: 21 }, (_, n) => [`u${n}`, ['developer']] as const),
  ['dana', ['developer']],
  ['ada', ['administrator']],
]);

let rig: Rig;
const open = new Set<Socket>();
beforeAll(async () => {
  rig = await startRig({ people: PEOPLE, admin: true, limits: { openStreams: 2_000 } });
});
afterEach(() => {
  for (const socket of open) socket.destroy();
  open.clear();
});
afterAll(() => rig.stop());

/** A socket that sends this, and then this again and again. */
function client(port: number, first: string, drip = '', everyMs = 250): Socket {
  const socket = connect({ host: '127.0.0.1', port });
  open.add(socket);
  socket.on('error', () => undefined);
  // Whoever does not read never hears that they were ended.
  socket.resume();
  socket.write(first === '' ? Buffer.alloc(0) : first);
  const timer = drip === '' ? null : setInterval(() => void (socket.writable && socket.write(drip)), everyMs);
  socket.once('close', () => {
    open.delete(socket);
    if (timer) clearInterval(timer);
  });
  return socket;
}
const head = (lines: Readonly<Record<string, string>>): string =>
  [
    `POST ${rig.endpoint('notes')} HTTP/1.1`,
    `Host: ${new URL(rig.url).host}`,
    ...Object.entries(lines).map(([name, value]) => `${name}: ${value}`),
    '',
  ].join('\r\n');
const whole = (body: string, more: Readonly<Record<string, string>>): string =>
  `${head({ ...JSON_HEADERS, ...more, 'content-length': String(Buffer.byteLength(body)) })}\r\n${body}`;

async function p99(): Promise<number> {
  const times: number[] = [];
  for (let i = 0; i < 60; i++) {
    const began = performance.now();
    const { status } = await rig.call('notes', 'read_note', { text: `${i}` });
    times.push(performance.now() - began);
    expect(status).toBe(200);
  }
  return times.toSorted((a, b) => a - b)[58]!;
}

/** A lock by the admin plane, while all that goes on: acknowledged, and in force. */
async function lockHolds(): Promise<void> {
  const made = await rig.admin('ada', 'POST', '/locks', { kind: 'user', value: 'u20', reason: 'now' });
  expect([made.status, made.text]).toEqual([201, expect.any(String)]);
  const refused = await rig.call('notes', 'write_note', { text: 'x' }, { as: 'u20' });
  expect((await rig.about(refused.reference)).at(-1)?.decision?.reason).toMatch(/^locked:user:/);
  await rig.unlock(made.body['id'] as string);
}

describe('a thousand slow clients', () => {
  test(
    'RL-09: their neighbours and the administrators do not notice, and each of them is ended within ten seconds',
    { timeout: 120_000 },
    async () => {
      const quiet = await p99();
      const port = Number(new URL(rig.url).port);
      const naked = createServer({ headersTimeout: 0, requestTimeout: 0, keepAliveTimeout: 0 }, () => undefined);
      await new Promise<void>((resolve) => naked.listen(0, '127.0.0.1', resolve));
      const twin = (naked.address() as AddressInfo).port;
      const authorization = `Bearer ${rig.token('u0')}`;
      const kinds: ReadonlyArray<readonly [string, string, string]> = [
        ['nothing at all', '', ''],
        ['headers by drops', head({}), 'X-Drop: 1\r\n'],
        ['half a request line', 'POST /mc', ''],
        [
          'a body by drops, of somebody known',
          `${head({ ...JSON_HEADERS, authorization, 'content-length': '100000' })}\r\n`,
          ' ',
        ],
        ['a body by drops, of a stranger', `${head({ ...JSON_HEADERS, 'content-length': '100000' })}\r\n`, ' '],
        [
          'a chunked body by drops',
          `${head({ ...JSON_HEADERS, authorization, 'transfer-encoding': 'chunked' })}\r\n`,
          '1\r\n \r\n',
        ],
      ];
      const began = performance.now();
      const ended = new Map<string, number>();
      const latest = new Map<string, number>();
      const twins: Socket[] = [];
      for (const [kind, first, drip] of kinds) {
        ended.set(kind, 0);
        for (let n = 0; n < 166; n++)
          client(port, first, drip).once('close', () => {
            ended.set(kind, ended.get(kind)! + 1);
            latest.set(kind, performance.now() - began);
          });
        for (let n = 0; n < 5; n++) twins.push(client(twin, first, drip));
      }
      const loud = await p99();
      await lockHolds();
      expect(loud).toBeLessThanOrEqual(Math.max(2 * quiet, 500));
      await rig.until('all of them are ended', () => [...ended.values()].every((count) => count === 166), 60_000);
      for (const [kind, ms] of latest) expect([kind, ms < 10_000]).toEqual([kind, true]);
      // The same clients where nobody looks at the time.
      expect(twins.filter(({ destroyed }) => !destroyed)).toHaveLength(twins.length);
      for (const socket of twins) socket.destroy();
      naked.closeAllConnections();
      await new Promise((resolve) => naked.close(resolve));
    },
  );

  test(
    'RL-09: a thousand streams that nobody reads cost their neighbours nothing, and are gone with their clients',
    { timeout: 120_000 },
    async () => {
      const quiet = await p99();
      const port = Number(new URL(rig.url).port);
      const params = { notifications: { toolsListChanged: true } };
      const body = JSON.stringify(modernMessage('subscriptions/listen', params));
      const before = process.memoryUsage().heapUsed;
      const streams: Socket[] = [];
      for (let n = 0; n < 1_000; n++) {
        const authorization = `Bearer ${rig.token(`u${n % 20}`)}`;
        const one = client(port, whole(body, { authorization, ...modernHeaders('subscriptions/listen', params) }));
        one.pause();
        streams.push(one);
      }
      await rig.until('they are open', () => rig.gateway.openStreams === 1_000, 60_000);
      const loud = await p99();
      await lockHolds();
      expect(loud).toBeLessThanOrEqual(Math.max(2 * quiet, 500));
      expect(process.memoryUsage().heapUsed - before).toBeLessThan(300_000_000);
      for (const socket of streams) socket.destroy();
      await rig.until('none is open', () => rig.gateway.openStreams === 0, 60_000);
    },
  );
});

test('RL-09: headers that never end are refused at once', async () => {
  const port = Number(new URL(rig.url).port);
  let answer = '';
  const socket = client(port, head({ 'X-Long': 'x'.repeat(40_000) }));
  socket.on('data', (chunk) => (answer += String(chunk)));
  await new Promise((resolve) => socket.once('close', resolve));
  expect(answer).toMatch(/^HTTP\/1\.1 431 /);
});

test('RL-09: a thousand requests in one go on ten connections, none of whose answers is read, hold up nobody', async () => {
  const quiet = await p99();
  const port = Number(new URL(rig.url).port);
  const authorization = `Bearer ${rig.token('u1')}`;
  const call = whole(JSON.stringify(modernMessage('tools/list')), { authorization, ...modernHeaders('tools/list') });
  for (let n = 0; n < 10; n++) client(port, call.repeat(100)).pause();
  const loud = await p99();
  expect(loud).toBeLessThanOrEqual(Math.max(2 * quiet, 1_500));
});

test('RL-09: a slow body that keeps its pace is read to its end', { timeout: 120_000 }, async () => {
  const port = Number(new URL(rig.url).port);
  const authorization = `Bearer ${rig.token('u2')}`;
  const body = JSON.stringify(modernMessage('tools/list')) + ' '.repeat(260_000);
  const [first, rest] = [body.slice(0, 1_000), body.slice(1_000)];
  const socket = client(
    port,
    `${head({ ...JSON_HEADERS, authorization, ...modernHeaders('tools/list'), 'content-length': String(body.length) })}\r\n${first}`,
  );
  let answer = '';
  socket.on('data', (chunk) => (answer += String(chunk)));
  // 40 KB/s for about six and a half seconds: past the grace.
  for (let at = 0; at < rest.length; at += 10_000) {
    socket.write(rest.slice(at, at + 10_000));
    await new Promise((resolve) => setTimeout(resolve, 250));
  }
  await rig.until('it is answered', () => answer.includes('\r\n\r\n'));
  expect(answer).toMatch(/^HTTP\/1\.1 200 /);
});

test(
  'RL-01: with every place of the node taken, a lock is acknowledged and in force, the status answers, and all of it is in the log',
  { timeout: 120_000 },
  async () => {
    const full = await startRig({
      admin: true,
      limits: { concurrentCalls: 512, concurrentPerPerson: 512, concurrentPerServer: 512, callTimeoutMs: 60_000 },
      servers: { notes: { record: { timeoutMs: 60_000 } } },
    });
    try {
      full.sink().onCall(() => new Promise(() => undefined));
      const stuck = Array.from({ length: 512 }, (_, n) => full.call('notes', 'write_note', { text: `${n}` }));
      await full.until('all are there', () => full.sink().calls().length === 512, 60_000);
      expect((await full.call('notes', 'read_note', { text: 'x' })).status).toBe(503);
      expect((await full.admin('ada', 'GET', '/status')).status).toBe(200);
      const locked = await full.admin('ada', 'POST', '/locks', { kind: 'user', value: 'dana', reason: 'stolen' });
      expect(locked.status).toBe(201);
      for (const { text } of await Promise.all(stuck))
        expect(text).toContain('Access was withdrawn while the call ran');
      const refused = await full.call('notes', 'read_note', { text: 'x' });
      expect((await full.about(refused.reference)).at(-1)?.decision?.reason).toMatch(/^locked:user:/);
      const outcomes = (await full.entries('outcome')).filter(({ outcome }) => outcome?.detail?.startsWith('lock:'));
      expect(outcomes).toHaveLength(512);
    } finally {
      await full.stop();
    }
  },
);

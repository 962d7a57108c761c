/**
 * EX-01, EX-03, EX-07, EX-08: servers that attack the machine they run on, through the whole gateway: each is stopped within ten seconds or
 * gets nothing, the log says so, and a neighbour on the same node goes on answering. Twins: the same program without isolation, or with
 * limits that are not small, lands the same attack; each is harmless and bounded.
 * On figures: median, p95 and p99 of the neighbour are compared with their quiet values of the same run, within twice and a floor: a machine
 * with two processors, shared with other tests, holds no tail by itself.
 */
import { createSocket } from 'node:dgram';
import { chmodSync, existsSync, mkdtempSync, readFileSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { type AddressInfo, createServer } from 'node:net';
import { homedir, tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { JsonObject } from '../../src/lib/json.ts';
import { hostProcesses } from '../contracts/isolation.ts';
import { type HostileRig, startHostileRig } from '../support/hostile.ts';
import { until } from '../support/upstreams/open.ts';

const STOPPED_MS = 10_000;
const folder = mkdtempSync(join(tmpdir(), 'remit-hostile-'));
const canary = join(folder, 'canary');
let hostile: HostileRig;
let connections = 0;
let datagrams = 0;
const listener = createServer((socket) => {
  connections++;
  socket.destroy();
});
const resolver = createSocket('udp4', () => void datagrams++);
let tcp = 0;
let udp = 0;

beforeAll(async () => {
  chmodSync(folder, 0o777);
  writeFileSync(canary, 'canary');
  chmodSync(canary, 0o666);
  await new Promise<void>((resolve) => listener.listen(0, '127.0.0.1', resolve));
  await new Promise<void>((resolve) => resolver.bind(0, '127.0.0.1', resolve));
  tcp = (listener.address() as AddressInfo).port;
  udp = resolver.address().port;
  hostile = await startHostileRig();
  await hostile.add('neighbour');
});
afterAll(async () => {
  await hostile.rig.stop();
  listener.close();
  resolver.close();
  rmSync(folder, { recursive: true });
});

interface Quick {
  readonly median: number;
  readonly p95: number;
  readonly p99: number;
}

/** The neighbour is called one after the other while this holds; every call must be answered. */
async function neighbour(goOn: (calls: number) => boolean): Promise<Quick> {
  const times: number[] = [];
  while (goOn(times.length)) {
    const text = `call ${times.length}`;
    const from = performance.now();
    expect(await hostile.act('neighbour', { what: 'echo', text }, 'dora')).toBe(text);
    times.push(performance.now() - from);
  }
  times.sort((a, b) => a - b);
  const at = (share: number): number => times[Math.floor(times.length * share)] ?? 0;
  return { median: at(0.5), p95: at(0.95), p99: at(0.99) };
}

describe('what uses up the machine', () => {
  let quiet: Quick;
  beforeAll(async () => {
    await neighbour((calls) => calls < 30); // warm
    quiet = await neighbour((calls) => calls < 100);
  });

  test.each<readonly [string, JsonObject, string]>([
    ['forks without end', { upTo: 1_000_000, hold: true }, 'processes'],
    ['fills memory', { upTo: 4_096 }, 'memory'],
    ['prints an endless line', { upTo: 1_000_000 }, 'output'],
    ['prints lines', { upTo: 1_000_000 }, 'protocol'],
    ['prints notifications', { upTo: 1_000_000 }, 'output'],
    ['prints long notifications', { upTo: 1_000_000 }, 'output'],
    ['prints errors', { upTo: 10_000_000 }, 'output'],
    ['burns', { upTo: 60_000 }, 'cpu'],
  ])(
    'EX-07: a server that %s is ended within ten seconds, and its neighbour does not notice',
    async (name, more, reason) => {
      const id = name.replaceAll(' ', '-');
      await hostile.add(id, { limits: { cpuSeconds: reason === 'cpu' ? 2 : 30 } });
      const what = { 'forks without end': 'forks', 'fills memory': 'fills' }[name] ?? name;
      const from = performance.now();
      let tookMs: number | undefined;
      const attack = hostile.call(id, { what, ...more }).finally(() => (tookMs = performance.now() - from));
      const during = await neighbour((calls) => tookMs === undefined || calls < 40);
      const answer = await attack;
      expect(tookMs).toBeLessThan(STOPPED_MS);
      // The caller learns that nobody knows what became of it; the operator learns why.
      expect(answer.text).toMatch(/did not give a usable answer/);
      await until('the log has it', async () => (await hostile.ended(id)).includes(reason));
      const outcome = (await hostile.rig.about(answer.reference)).find(({ kind }) => kind === 'outcome');
      expect(outcome?.outcome).toMatchObject({
        status: 'failed',
        detail: expect.stringMatching(/^upstream_(?:closed|protocol|too_large)$/) as string,
      });
      await until('nothing of it is left', () => hostile.book.of(id).length === 0);
      expect(during.median).toBeLessThan(2 * quiet.median + 50);
      expect(during.p95).toBeLessThan(2 * quiet.p95 + 250);
      expect(during.p99).toBeLessThan(Math.max(2 * quiet.p99, 1_000));
    },
  );

  test('EX-07: a server that hangs keeps nobody waiting longer than its time, and others not at all', async () => {
    await hostile.add('hangs', { record: { timeoutMs: 1_500 } });
    const attack = hostile.call('hangs', { what: 'hangs' });
    await neighbour((calls) => calls < 20);
    const answer = await attack;
    expect(answer.text).toMatch(/did not answer in time|did not give a usable answer/);
    const outcome = (await hostile.rig.about(answer.reference)).find(({ kind }) => kind === 'outcome');
    expect(outcome).toBeDefined();
    // It is not ended for it: a call that takes long is no attack yet.
    expect(await hostile.act('hangs', { what: 'echo', text: 'here' })).toBe('here');
  });

  test('EX-07: twin: with limits that are not small, the same program does fill memory and does fork', async () => {
    await hostile.add('wide', { limits: { memoryMb: 1_024, processes: 200 } });
    expect(await hostile.act('wide', { what: 'fills', upTo: 256 })).toBe('256 MB');
    await hostile.add('wide-forks', { limits: { processes: 200, memoryMb: 512 }, record: { timeoutMs: 3_000 } });
    const marker = `30.${1_000 + (process.pid % 1_000)}`;
    const forking = hostile.call('wide-forks', { what: 'forks', upTo: 60, marker });
    const born = () => hostProcesses().filter(([, command]) => command === `/usr/bin/sleep ${marker}`).length;
    await until('more than the small limit run', () => born() >= 60);
    await forking;
    await hostile.rig.setServer('wide-forks', { state: 'suspended' });
  });
});

describe('what reaches outside', () => {
  beforeAll(async () => {
    await hostile.add('boxed');
    await hostile.add('bare-twin');
  });

  test('EX-01: writing outside: nothing is written; twin: it is', async () => {
    const paths = [canary, join(folder, 'new'), '/usr/remit-hostile', '/etc/remit-hostile', '/remit/node', '/repo/x'];
    const done = (await hostile.act('boxed', { what: 'writes outside', paths })) as string[];
    for (const outcome of done) expect(outcome).toMatch(/^(?:ENOENT|EROFS|EACCES|ETXTBSY)$/);
    expect(readFileSync(canary, 'utf8')).toBe('canary');
    expect(readdirSync(folder)).toEqual(['canary']);

    expect(await hostile.act('bare-twin', { what: 'writes outside', paths: [canary] })).toEqual(['ok']);
    expect(readFileSync(canary, 'utf8')).toBe('owned');
    writeFileSync(canary, 'canary');
  });

  test('EX-03: reading the host: no file, no process, no environment of others; twin: all of it', async () => {
    const paths = [
      canary,
      `/proc/${process.pid}/environ`,
      '/etc/shadow',
      join(homedir(), '.ssh/id_ed25519'),
      '/etc/hostname',
    ];
    const read = (await hostile.act('boxed', { what: 'reads the host', paths })) as string[];
    for (const outcome of read) expect(outcome).toMatch(/^(?:ENOENT|EACCES)$/);
    // What it sees of processes is itself and the one that holds it, of whose environment it gets nothing.
    const others = (await hostile.act('boxed', { what: 'reads others' })) as string[];
    expect(others.length).toBe(2);
    expect(others.join('')).not.toMatch(/PATH|HOME|REMIT/);

    expect(await hostile.act('bare-twin', { what: 'reads the host', paths: [canary] })).toEqual(['canary']);
    const seen = (await hostile.act('bare-twin', { what: 'reads others' })) as string[];
    expect(seen.join('')).toContain('SECRET=of the twin');
    expect(seen.length).toBeGreaterThan(2);
  });

  test('EX-01: scanning the network finds nobody; twin: it finds the host', async () => {
    const targets = [
      ['127.0.0.1', tcp],
      ['::1', tcp],
      ['169.254.169.254', 80],
      ['::ffff:127.0.0.1', tcp],
      ['10.0.0.1', 80],
      ['192.0.2.1', 443],
    ];
    const before = connections;
    const found = (await hostile.act('boxed', { what: 'scans', targets })) as string[];
    for (const outcome of found) expect(outcome).toMatch(/^(?:ECONNREFUSED|ENETUNREACH|EADDRNOTAVAIL|EHOSTUNREACH)$/);
    expect(connections).toBe(before);

    expect(await hostile.act('bare-twin', { what: 'scans', targets: [['127.0.0.1', tcp]] })).toEqual(['reached']);
    await until('it came', () => connections === before + 1);
  });

  test('EX-01: a tunnel by DNS carries nothing; twin: the resolver of the attacker hears it', async () => {
    const before = datagrams;
    await hostile.act('boxed', { what: 'tunnels', upTo: udp });
    expect(datagrams).toBe(before);
    await hostile.act('bare-twin', { what: 'tunnels', upTo: udp });
    await until('they came', () => datagrams >= before + 2);
  });

  test('EX-08: ten thousand descriptors are not to be had; twin: they are', async () => {
    const [open, problem] = (await hostile.act('boxed', { what: 'holds descriptors', upTo: 10_000 })) as [
      number,
      string,
    ];
    expect(problem).toBe('EMFILE');
    expect(open).toBeLessThan(64);
    await hostile.add('wide-open', { limits: { openFiles: 12_000 } });
    expect(await hostile.act('wide-open', { what: 'holds descriptors', upTo: 10_000 })).toEqual([10_000, 'ok']);
  });

  test('EX-07: one that survives SIGTERM is gone when its server is ended; twin: it stays', async () => {
    await hostile.add('survivor');
    await hostile.act('survivor', { what: 'survives' });
    await hostile.rig.setServer('survivor', { state: 'suspended' });
    await hostile.closed('survivor');
    await until('nothing of it is left', () => hostile.book.of('survivor').length === 0, STOPPED_MS);

    await hostile.add('bare-survivor');
    const pid = (await hostile.act('bare-survivor', { what: 'survives' })) as number;
    const closed = hostile.closed('bare-survivor').then(() => 'gone');
    expect(await Promise.race([closed, new Promise((resolve) => setTimeout(resolve, 3_000, 'still there'))])).toBe(
      'still there',
    );
    expect(existsSync(`/proc/${pid}`)).toBe(true);
    process.kill(pid, 'SIGKILL');
    await closed;
  });

  test('EX-07: daemons that it left are gone with it; twin: they live on', async () => {
    const marker = `45.${1_000 + (process.pid % 1_000)}`;
    const alive = () => hostProcesses().filter(([, command]) => command === `/usr/bin/sleep ${marker}`);
    await hostile.add('daemons');
    await hostile.act('daemons', { what: 'leaves daemons', marker });
    await until('they run', () => alive().length === 3);
    await hostile.closed('daemons');
    await until('they are gone', () => alive().length === 0, STOPPED_MS);

    await hostile.add('bare-daemons');
    await hostile.act('bare-daemons', { what: 'leaves daemons', marker });
    await hostile.closed('bare-daemons');
    await until('they live on', () => alive().length === 3);
    for (const [pid] of alive()) process.kill(pid, 'SIGKILL');
  });
});

describe('EX-05: what one person leaves, another does not find', () => {
  test('EX-05: connections of persons have processes of their own, and nothing outlives them', async () => {
    await hostile.add('private', { record: { connections: 'person' } });
    expect(await hostile.act('private', { what: 'keeps', text: 'of dana' }, 'dana')).toBe('ok');
    expect(await hostile.act('private', { what: 'recalls' }, 'dora')).toEqual(['', 'ENOENT', []]);
    expect(await hostile.act('private', { what: 'recalls' }, 'dana')).toEqual([
      'of dana',
      'of dana',
      ['remit-hostile-kept'],
    ]);
    // One each, and the one that its tools are looked at with.
    expect(hostile.book.of('private').length).toBe(3);
    // Nothing of it is on the host, while it runs or after.
    expect(readdirSync(tmpdir()).filter((name) => name.startsWith('remit-hostile-kept'))).toEqual([]);
    await hostile.closed('private');
    expect(hostile.book.of('private')).toEqual([]);
    expect(await hostile.act('private', { what: 'recalls' }, 'dana')).toEqual(['', 'ENOENT', []]);
  });

  test('EX-05: twin: a process that is shared gives one person what another left', async () => {
    await hostile.add('common');
    await hostile.act('common', { what: 'keeps', text: 'of dana' }, 'dana');
    expect(await hostile.act('common', { what: 'recalls' }, 'dora')).toEqual([
      'of dana',
      'of dana',
      ['remit-hostile-kept'],
    ]);
  });
});

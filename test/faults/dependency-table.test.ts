/**
 * RL-08: each thing that Remit leans on is really taken away from a running node, and what then happens to calls and locks, what the caller is
 * told and what the operator sees is written down. docs/guides/failure-modes.md must say exactly that; REMIT_WRITE_TABLE=1 writes it anew.
 * What is held by a test elsewhere is named there by its title, and the title is looked for.
 */
import { readFileSync, readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, describe, expect, test } from 'vitest';
import { startNotifier } from '../../src/admin/notify/notifier.ts';
import { NotificationTarget } from '../../src/admin/notify/records.ts';
import { LedgerFault } from '../../src/audit/ledger.ts';
import { startTelemetry } from '../../src/cli/telemetry.ts';
import { createTokenVerifier } from '../../src/identity/access-token.ts';
import type { Server } from '../../src/inventory/records.ts';
import { manualClock, systemClock } from '../../src/lib/clock.ts';
import { Fault } from '../../src/lib/fault.ts';
import type { JsonObject } from '../../src/lib/json.ts';
import { ExchangeFault } from '../../src/store/exchange.ts';
import { guardedJson, guardedRequest } from '../../src/upstream/dial.ts';
import { ORG, startRig, tableWith } from '../support/rig.ts';
import type { Answer, Rig, RigOptions } from '../support/rig.ts';
import type { PoolOptions } from '../../src/upstream/pool.ts';
import { SINK_PROGRAM, stdioServer, testPool, until } from '../support/upstreams/open.ts';
import type { TestPool } from '../support/upstreams/open.ts';

const GUIDE = join(import.meta.dirname, '../../docs/guides/failure-modes.md');
const LOCAL = { allowedNetworks: ['127.0.0.1/32'], requireHttps: false } as const;

interface Row {
  readonly what: string;
  readonly options?: Partial<RigOptions>;
  /** Before anything works; closes what it opened. */
  readonly around?: () => Promise<() => Promise<unknown>>;
  /** What callers present once it is away. Default: a token of that moment. */
  readonly token?: string;
  /** Takes it away. */
  readonly breaks: (rig: Rig) => Promise<void> | void;
  /** Whether a call that changes something may be made while this is away. */
  readonly sideEffects: 'refused' | 'made';
}

interface Observed {
  readonly write: string;
  readonly read: string;
  readonly lock: string;
  readonly told: string;
  readonly seen: string;
}

let away = false;
const when =
  <A extends readonly unknown[], R>(fault: () => Error, real: (...given: A) => Promise<R>) =>
  (...given: A): Promise<R> =>
    away ? Promise.reject(fault()) : real(...given);
const noExchange = (): Error => new ExchangeFault('exchange_unavailable', 'away');
const offset = { ms: 0 };
const movable = { now: () => systemClock.now() + offset.ms };

let frozen: TestPool | null = null;
/** Its pauses do not end while somebody looks. */
function frozenPool(more: Partial<PoolOptions> = {}): TestPool {
  frozen = testPool({ clock: manualClock(systemClock.now()), ...more });
  closers.push(frozen.closeAll);
  return frozen;
}
const leftAlone = (): Promise<void> =>
  until('it is left alone', () => frozen!.status().some(({ breaker }) => breaker === 'open'));

const closers: Array<() => Promise<unknown>> = [];

const ROWS: readonly Row[] = [
  { what: 'nothing', breaks: () => undefined, sideEffects: 'made' },
  {
    what: 'identity provider: its keys, while they are known',
    breaks: (rig) => rig.issuer.setMode('down'),
    sideEffects: 'made',
  },
  {
    what: 'identity provider: its keys, of which a new one signs',
    breaks(rig) {
      rig.issuer.setMode('down');
      rig.issuer.rotate({ withdraw: true });
    },
    sideEffects: 'refused',
  },
  {
    what: 'identity provider: its introspection endpoint',
    options: {
      wrap: (deps) => ({
        ...deps,
        verifier: createTokenVerifier({
          issuers: deps.issuers.map((issuer) => ({
            issuer,
            introspection: {
              url: 'http://127.0.0.1:9/introspect',
              clientId: 'gw',
              clientSecret: () => Promise.resolve('x'),
            },
          })),
          fetchJwks: (url) => guardedJson(url, { rule: LOCAL, timeoutMs: 1_000, maxBytes: 100_000 }),
          async postForm(to, asked) {
            const answer = await guardedRequest(to, { ...asked, method: 'POST', rule: LOCAL });
            return {
              status: answer.status,
              contentType: String(answer.headers['content-type'] ?? ''),
              body: answer.body,
            };
          },
          clock: deps.clock,
        }),
      }),
    },
    token: 'an-opaque-token',
    breaks: () => undefined,
    sideEffects: 'refused',
  },
  {
    what: 'policies that cannot be read',
    breaks: async (rig) => {
      const body = { description: 'broken', text: 'permit (principal,', state: 'active' };
      await rig.commit([{ kind: 'policy', org: ORG, id: 'broken', body }]);
    },
    sideEffects: 'refused',
  },
  {
    what: 'policy engine: it throws',
    options: {
      table: tableWith({
        'caller-may': () => {
          throw new Fault('engine_failed', 'unreachable');
        },
      }),
    },
    breaks: () => undefined,
    sideEffects: 'refused',
  },
  {
    what: 'secret source, for a server that is opened anew',
    around: () => {
      process.env['REMIT_TEST_TABLE'] = 'a-secret-of-the-table';
      return Promise.resolve(() => Promise.resolve(delete process.env['REMIT_TEST_TABLE']));
    },
    options: {
      wrap: (deps) => ({ ...deps, pool: frozenPool() }),
      servers: { notes: { upstream: { headers: [{ name: 'x-key', value: { secret: 'env:REMIT_TEST_TABLE' } }] } } },
    },
    breaks: async (rig) => {
      delete process.env['REMIT_TEST_TABLE'];
      await rig.setServer('notes', { title: 'renamed' });
      await leftAlone();
    },
    sideEffects: 'refused',
  },
  {
    what: 'audit log: the disk says no',
    breaks: (rig) => {
      rig.faults.before = () => {
        throw new LedgerFault('ledger_failed', 'EIO');
      };
    },
    sideEffects: 'refused',
  },
  {
    what: 'audit log: the disk does not keep up',
    breaks: (rig) => {
      rig.faults.before = () => {
        throw new LedgerFault('ledger_overloaded', 'full');
      };
    },
    sideEffects: 'refused',
  },
  {
    what: 'state store',
    options: { freshnessLimitMs: 500 },
    breaks: async (rig) => {
      await rig.state.close();
      await rig.until('the node knows', () => rig.gateway.notReady().includes('state_stale'));
    },
    sideEffects: 'refused',
  },
  {
    what: 'exchange (sessions, tasks, labels of traces), for what gives nothing private',
    options: {
      wrap: (deps) => ({
        ...deps,
        exchange: {
          ...deps.exchange,
          append: when(noExchange, deps.exchange.append),
          read: when(noExchange, deps.exchange.read),
          latest: when(noExchange, deps.exchange.latest),
        },
      }),
    },
    breaks: () => void (away = true),
    sideEffects: 'made',
  },
  {
    what: 'upstream server: nobody listens',
    breaks: (rig) => rig.sink().close(),
    sideEffects: 'refused',
  },
  {
    what: 'upstream server: it answers nothing',
    options: { servers: { notes: { record: { timeoutMs: 500 } } } },
    breaks: (rig) => rig.sink().intercept(() => 'hang'),
    sideEffects: 'refused',
  },
  {
    what: 'isolation backend, for a server that is started',
    options: {
      wrap: (deps) => ({
        ...deps,
        pool: frozenPool({
          startProcess: () => Promise.reject(new Fault('sandbox_unavailable', 'there is no bwrap')),
        }),
      }),
    },
    async breaks(rig) {
      await rig.setServer('notes', { upstream: stdioServer(SINK_PROGRAM).upstream as Server['upstream'] });
      await leftAlone();
    },
    sideEffects: 'refused',
  },
  {
    what: 'telemetry collector',
    around: async () => {
      const service = { name: 'remit', version: '0', node: 'rig-1' };
      const running = await startTelemetry({ prometheus: false, otlpUrl: 'http://127.0.0.1:9/v1/traces' }, service);
      return () => running.close();
    },
    breaks: () => undefined,
    sideEffects: 'made',
  },
  {
    what: 'notification target',
    breaks: async (rig) => {
      const notifier = startNotifier({
        org: ORG,
        clock: rig.clock,
        state: rig.state,
        follower: rig.view.follower,
        snapshot: () => rig.gateway.snapshot(),
        resolveSecret: () => Promise.resolve(`whsec_${Buffer.alloc(32, 7).toString('base64')}`),
        smtp: null,
        publicUrl: 'https://admin.example',
        log: {
          warn: (fields, message) => void (rig.logged as object[]).push({ level: 'warn', fields, message }),
          error: (fields, message) => void (rig.logged as object[]).push({ level: 'error', fields, message }),
        },
      });
      closers.push(() => notifier.close());
      const channel = {
        kind: 'webhook',
        url: 'http://127.0.0.1:9/',
        secret: { secret: 'env:HOOK' },
        allowedNetworks: ['127.0.0.0/8'],
      };
      const body = NotificationTarget.parse({ title: 'on call', state: 'active', channel }) as JsonObject;
      await rig.commit([{ kind: 'notification_target', org: ORG, id: 'oncall', body }]);
    },
    sideEffects: 'made',
  },
  {
    what: 'clock: it jumps a day ahead',
    options: { clock: movable },
    breaks: () => void (offset.ms = 86_400_000),
    sideEffects: 'refused',
  },
  {
    what: 'clock: it jumps a day back',
    options: { clock: movable },
    breaks: () => void (offset.ms = -86_400_000),
    sideEffects: 'made',
  },
];

const observed = new Map<string, Observed>();

/** Without what differs from run to run. */
const plain = (text: string): string => text.replaceAll(/ ?Reference: \S+/g, '').replaceAll(/\d+ s\b/g, 'N s');

async function outcomeOf(rig: Rig, answer: Answer, arrived: boolean): Promise<string> {
  if (answer.status === 200 && answer.error === undefined && answer.result?.['isError'] !== true) return 'made';
  const entries = await rig.about(answer.reference).catch(() => []);
  const last = entries.at(-1);
  const reason = last?.decision?.reason ?? last?.outcome?.detail ?? null;
  const code = reason === null ? String(answer.status) : `\`${plain(reason)}\``;
  return arrived ? `sent, answer withheld (${code})` : `refused (${code})`;
}

const toldBy = ({ status, error, result }: Answer): string => {
  const [block] = (result?.['content'] ?? []) as ReadonlyArray<{ readonly text?: string }>;
  return `${status}: ${plain(error?.message ?? block?.text ?? '')}`;
};

async function observe({ what, options = {}, around, token: presents, breaks }: Row): Promise<Observed> {
  away = false;
  offset.ms = 0;
  const after = await around?.();
  const rig = await startRig({ admin: true, ...options });
  try {
    const before = rig.token('dana');
    const call = (tool: string, token: string): Promise<Answer> => rig.call('notes', tool, { text: what }, { token });
    if (!what.includes('introspection') && !what.includes('engine'))
      for (const tool of ['write_note', 'read_note']) expect((await call(tool, before)).status).toBe(200);
    const mark = rig.logged.length;
    await breaks(rig);
    // Who signs in meanwhile, but for a clock that moves: there it is the tokens of before that matter.
    const token = presents ?? (what.startsWith('clock') ? before : rig.token('dana'));
    const sent = (): number => rig.sink().calls().length;
    const atFirst = sent();
    const write = await call('write_note', token);
    const wrote = sent();
    const read = await call('read_note', token);
    const wasRead = sent();
    const lock = await rig.admin('ada', 'POST', '/locks', { kind: 'user', value: 'dora', reason: 'now' });
    const holds = [...rig.view.records('lock', ORG)].length === 1 && rig.gateway.snapshot().locks !== null;
    const { code = '' } = (lock.body['error'] ?? {}) as { readonly code?: string };
    const logged = rig.logged.slice(mark).filter(({ level }) => level !== 'debug' && level !== 'info');
    const seen = [
      ...rig.gateway.notReady().map((one) => `not ready: \`${one}\``),
      ...new Set(logged.map(({ message }) => message)),
    ];
    const result: Observed = {
      write: await outcomeOf(rig, write, wrote > atFirst),
      read: await outcomeOf(rig, read, wasRead > wrote),
      lock:
        lock.status === 201 && holds
          ? 'acknowledged'
          : `${holds ? 'in force, not acknowledged' : 'refused'} (${lock.status} \`${code}\`)`,
      told: toldBy(write).replace(/^200: .*$/s, write.result?.['isError'] === true ? '$&' : 'its answer'),
      seen: seen.join('; ') || 'nothing',
    };
    return result;
  } finally {
    for (const close of closers.splice(0)) await close();
    await rig.stop().catch(() => undefined);
    await after?.();
    away = false;
    offset.ms = 0;
  }
}

/** Held elsewhere: what, what happens, and the title of the test. */
const ELSEWHERE: ReadonlyArray<readonly [string, string, string]> = [
  [
    'source of identities that falls silent (security events, SCIM)',
    'an alarm past its limit; with `whenSilent: refuse` the people of that source are refused (`source_silent`), everybody else is not',
    'R6: `whenSilent: refuse` closes the door for the people of that source and for nobody else',
  ],
  [
    'advisory feed that is gone or cannot be read later on',
    'the old one stays in force, with a warning',
    'NH-11: later: the old one stays in force, with a warning',
  ],
  [
    'authorization server that takes no security events',
    'calls go on; what could not be delivered is delivered later, in order; after a minute an alarm',
    'an authorization server that takes nothing for more than a minute is an alarm',
  ],
  [
    'exchange, for a call whose result is private or written by strangers',
    'refused: its trace could not be labelled',
    'RL-05, AZ-10: what a call gives is not known to the others without the exchange, so nobody gets it',
  ],
  [
    'detector of content',
    'what the risk class says: labelled and let through, or refused, and an `incident` entry (`detector_failed`)',
    'CI-11: %s: what is risky is refused, what only reads goes on and says so; both are incidents',
  ],
];

describe('RL-08: what is away', () => {
  test.each(ROWS)('RL-08: $what', { timeout: 120_000 }, async (row) => {
    const seen = await observe(row);
    observed.set(row.what, seen);
    expect([row.what, seen.write === 'made' ? 'made' : 'refused']).toEqual([row.what, row.sideEffects]);
    // Never sent without a record: what changes something leaves only once its intent is durable.
    if (row.what.startsWith('audit')) expect(seen.write).toMatch(/^refused/);
  });

  test.each(ELSEWHERE)('RL-08: %s is held by a test of its own', (_what, _mode, title) => {
    expect(
      [...testFiles(join(import.meta.dirname, '..'))].some((file) => readFileSync(file, 'utf8').includes(title)),
    ).toBe(true);
  });
});

function* testFiles(folder: string): Generator<string> {
  for (const entry of readdirSync(folder, { withFileTypes: true })) {
    const path = join(folder, entry.name);
    if (entry.isDirectory()) yield* testFiles(path);
    else if (entry.name.endsWith('.test.ts') && path !== import.meta.filename) yield path;
  }
}

const BEGIN = '<!-- observed: begin -->';
const END = '<!-- observed: end -->';

function table(): string {
  const head =
    '| away | call that changes something | call that reads | lock by an administrator | the caller is told | the operator sees |\n|---|---|---|---|---|---|';
  const rows = ROWS.map(({ what }) => {
    const { write, read, lock, told, seen } = observed.get(what)!;
    return `| ${[what, write, read, lock, told, seen].map((cell) => cell.replaceAll('|', '\\|')).join(' | ')} |`;
  });
  const elsewhere = ELSEWHERE.map(([what, mode]) => `| ${what} | ${mode} |`);
  return [head, ...rows, '', '| away | what happens |\n|---|---|', ...elsewhere].join('\n');
}

describe('RL-08: docs/guides/failure-modes.md', () => {
  test('RL-08: says what was observed', () => {
    expect(observed.size).toBe(ROWS.length);
    const guide = readFileSync(GUIDE, 'utf8');
    const [from, to] = [guide.indexOf(BEGIN) + BEGIN.length, guide.indexOf(END)];
    const now = `\n${table()}\n`;
    if (process.env['REMIT_WRITE_TABLE'] === '1') writeFileSync(GUIDE, guide.slice(0, from) + now + guide.slice(to));
    else expect(guide.slice(from, to)).toBe(now);
  });
});

afterAll(async () => {
  for (const close of closers) await close();
});

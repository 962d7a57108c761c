/**
 * Crashes, on whole processes: of the gateway, of the server behind it, of the authorization server, of the disk.
 * The oracle is the sink (what reached it) against the ledger (what was said before), read from the files after the crash.
 */
import { mkdirSync, readFileSync, readdirSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { pino } from 'pino';
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import type { AuditEntry } from '../../src/audit/entry.ts';
import { startAuthServer } from '../../src/authserver/server.ts';
import { digestOf } from '../../src/lib/canonical-json.ts';
import { startIssuer } from '../support/issuer.ts';
import type { TestIssuer } from '../support/issuer.ts';
import { endAll, freePorts, runRemit, startRemit, temporaryFolder, until } from '../support/processes.ts';
import { startSink } from '../support/upstreams/sink.ts';
import type { Sink } from '../support/upstreams/sink.ts';
import { SCOPES, gatewayNode, tokensOf } from './node.ts';
import type { GatewayNode, Reply, TokenSource } from './node.ts';
import { accessToken } from './people.ts';

// Whole processes on a machine that may be busy: a bound, not an expectation.
vi.setConfig({ testTimeout: 120_000, hookTimeout: 120_000 });

let issuer: TestIssuer;
let sink: Sink;
beforeEach(async () => {
  issuer = await startIssuer();
  sink = await startSink();
});
afterEach(async () => {
  await endAll();
  await sink.close();
  await issuer.close();
});

/** A node that is set up and running. */
async function governed(more: Record<string, unknown> = {}, env: Record<string, string> = {}, upstream = {}) {
  const node = await gatewayNode(temporaryFolder(), tokensOf(issuer), more);
  const first = await node.start({ env });
  await node.setUp(sink, upstream);
  return { node, ...first };
}

/** Small and seeded: the moments of the kills are the same in every run, as far as the machine allows. */
function randomness(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state * 1_664_525 + 1_013_904_223) % 4_294_967_296;
    return state / 4_294_967_296;
  };
}

interface Acknowledged {
  readonly id: string;
  readonly reference: string;
  readonly index: number;
}

function acknowledgement(id: string, reply: Reply): Acknowledged | null {
  const meta = reply.body.result?.['_meta'] as Record<string, unknown> | undefined;
  if (reply.status !== 200 || meta === undefined) return null;
  const { index } = meta['remit/receipt'] as { index: number };
  return { id, reference: String(meta['remit/reference']), index };
}

const idsAtSink = (tool: string): string[] =>
  sink
    .calls()
    .map(({ message }) => message!['params'] as { name: string; arguments: { id: string } })
    .filter(({ name }) => name === tool)
    .map((params) => params.arguments.id);

const digestOfId = (id: string): string => digestOf({ id });

/** Calls that reached the sink although no entry of the ledger says that they were about to leave. */
function unannounced(entries: readonly AuditEntry[], tool: string): string[] {
  const announced = new Set(
    entries.filter(({ kind, call }) => kind === 'intent' && call?.tool === tool).map(({ call }) => call!.args),
  );
  return idsAtSink(tool).filter((id) => !announced.has(digestOfId(id) as never));
}

/** Call ids with an intent and no outcome. */
function open(entries: readonly AuditEntry[]): string[] {
  const closed = new Set(entries.filter(({ kind }) => kind === 'outcome').map(({ prev }) => prev));
  return entries.flatMap(({ kind, call }, index) => (kind === 'intent' && !closed.has(index) ? [call!.id] : []));
}

const recoveredGates = (entries: readonly AuditEntry[]): string[][] =>
  entries
    .filter(({ kind, event }) => kind === 'gate' && event?.what === 'recovered')
    .map(({ event }) => [...(event!['calls'] as string[])]);

async function expectVerifies(node: GatewayNode, verifierKey: string): Promise<void> {
  const folder = temporaryFolder();
  const token = await tokensOf(issuer).token('aiko', `${node.adminUrl}/api/v1`, 'admin:read');
  const env = { REMIT_ADMIN_URL: node.adminUrl, REMIT_TOKEN: token };
  const exported = await runRemit(['audit', 'export', join(folder, 'log'), '--json'], { env });
  expect([exported.code, exported.err]).toEqual([0, '']);
  const verified = await runRemit(['verify', join(folder, 'log'), '--vkey', verifierKey, '--json']);
  expect([verified.code, verified.err]).toEqual([0, '']);
}

test('AE-01, AE-03, RL-06: killed five times under load, no acknowledged call is missing, every effect was announced, nothing is done twice, and each restart names what was in flight', async () => {
  const random = randomness(20_261_122);
  const { node, ...first } = await governed();
  let { started } = first;
  sink.onCall(async ({ arguments: args }) => {
    await new Promise((resolve) => setTimeout(resolve, random() * 15));
    return { content: [{ type: 'text', text: String(args['id']) }] };
  });
  const acknowledged: Acknowledged[] = [];
  const saidAtStart: string[][] = [];
  const token = await tokensOf(issuer).token('dana', node.url, SCOPES);

  for (let round = 0; round < 5; round++) {
    const enough = acknowledged.length + 10 + Math.floor(random() * 60);
    let killed = false;
    const caller = async (lane: number): Promise<void> => {
      for (let n = 0; !killed; n++) {
        const id = `r${round}-l${lane}-n${n}`;
        const reply = await node.call('put', { id }, { token }).catch(() => null);
        const ack = reply && acknowledgement(id, reply);
        if (ack) acknowledged.push(ack);
        if (acknowledged.length >= enough && !killed) {
          killed = true;
          started.signal('SIGKILL');
        }
      }
    };
    await Promise.all(Array.from({ length: 8 }, (_, lane) => caller(lane)));
    await started.ended;
    if (round < 4) {
      const again = await node.start();
      started = again.started;
      saidAtStart.push(again.ready.unknown.map(({ call }) => call));
    }
  }

  // The last restart as a person sees it.
  const human = startRemit(['gateway', '--config', node.configFile]);
  await until('the addresses', () => human.out().includes('admin:'), 60_000, human.err);
  const said = human.out();
  await expectVerifies(node, /^log key: (.*)$/m.exec(said)?.[1] ?? '');
  expect(await human.stop()).toMatchObject({ code: 0 });

  const entries = await node.entries();
  expect(acknowledged.length).toBeGreaterThanOrEqual(50);
  for (const { id, reference, index } of acknowledged) {
    const outcome = entries[index]!;
    expect(outcome).toMatchObject({
      kind: 'outcome',
      ref: reference,
      outcome: { status: 'ok' },
      call: { tool: 'put' },
    });
    expect(entries[outcome.prev!]).toMatchObject({
      kind: 'intent',
      call: { id: reference, args: digestOfId(id), risk: 'write', definition: expect.stringMatching(/^sha256:/) },
      actor: { issuer: issuer.issuer, subject: 'dana', client: 'journey', token: expect.any(String) },
      decision: { verdict: 'allow', rules: ['baseline.developer'], revision: expect.any(Number) },
    });
  }
  expect(unannounced(entries, 'put')).toEqual([]);
  const reached = idsAtSink('put');
  expect(new Set(reached).size).toBe(reached.length);
  // Both ways: what is recorded as done was done.
  const digests = new Set(reached.map(digestOfId));
  const done = entries.filter(({ kind, outcome }) => kind === 'outcome' && outcome?.status === 'ok');
  expect(done.filter(({ call }) => !digests.has(String(call?.args)))).toEqual([]);

  const inFlight = open(entries);
  expect(inFlight.length).toBeGreaterThan(0);
  const named = recoveredGates(entries);
  expect(named).toHaveLength(5);
  expect(named.slice(0, 4)).toEqual(saidAtStart);
  expect(named.flat().sort()).toEqual([...inFlight].sort());
  if (named[4]!.length > 0) expect(said).toMatch(/^The last run ended without a word\./);
  for (const call of named[4]!) expect(said).toContain(call);
});

test('AE-03: killed while a server works, the call is announced on disk, named at the next start and never sent again; its twin without an intent is silence', async () => {
  const { node, started } = await governed();
  sink.intercept(({ message }) => (message?.['method'] === 'tools/call' ? 'hang' : null));
  const pending = ['put', 'wrong'].map((tool) => node.call(tool, { id: `held-by-${tool}` }).catch(() => null));
  await until('both calls at the sink', () => sink.calls().length === 2);
  started.signal('SIGKILL');
  await Promise.all([started.ended, ...pending]);
  sink.intercept(null);

  const human = startRemit(['gateway', '--config', node.configFile]);
  await until('the addresses', () => human.out().includes('admin:'), 60_000, human.err);
  expect(await human.stop()).toMatchObject({ code: 0 });
  const entries = await node.entries();
  expect(unannounced(entries, 'put')).toEqual([]);
  // What the classing of `put` as a write prevents: the sink has the call, the record says nothing.
  expect(unannounced(entries, 'wrong')).toEqual(['held-by-wrong']);
  const [call, ...others] = open(entries);
  expect([others, recoveredGates(entries)]).toEqual([[], [[call]]]);
  expect(human.out().split('\n').slice(0, 3)).toEqual([
    'The last run ended without a word. Whether these calls had an effect is unknown; ask their servers:',
    expect.stringMatching(/^CALL +SERVER +TOOL/),
    expect.stringMatching(new RegExp(`^${call!} +sink +put +20`)),
  ]);
  expect(sink.calls()).toHaveLength(2);
  // Said once: an orderly stop leaves nothing to say.
  const { started: next, ready } = await node.start();
  expect(ready.unknown).toEqual([]);
  await next.stop();
});

test('RL-06: a server that dies in the middle of a call: the caller is told that the effect is unknown, the outcome says failed, nobody tries again', async () => {
  const { node, started } = await governed();
  sink.intercept(({ message }) => (message?.['method'] === 'tools/call' ? 'drop' : null));
  const reply = await node.call('put', { id: 'dropped' });
  const text = (reply.body.result!['content'] as Array<{ text: string }>)[0]!.text;
  expect([reply.status, reply.body.result?.['isError'], text]).toEqual([
    200,
    true,
    expect.stringMatching(
      /^The server did not give a usable answer\. Whether the call had an effect is unknown: check/,
    ),
  ]);
  expect(idsAtSink('put')).toEqual(['dropped']);
  await sink.close();
  // Now nothing listens: nothing was sent, and the caller hears exactly that.
  const down = await node.call('put', { id: 'nobody-home' });
  expect(down.text).toMatch(/could not be reached; nothing was sent|cannot be confirmed|unavailable/);
  await started.stop();
  const [failed] = (await node.entries()).filter(({ outcome }) => outcome?.status === 'failed');
  expect(failed).toMatchObject({ kind: 'outcome', call: { tool: 'put', args: digestOfId('dropped') } });
  expect(idsAtSink('put')).toEqual(['dropped']);
  expect(open(await node.entries())).toEqual([]);
});

test('AE-03: a full disk under the ledger: calls with effects are refused with 503 before they leave, the process ends and says why, and a restart with room works', async () => {
  const { node, started: first } = await governed();
  await first.stop();
  // write(2) answers EFBIG, as a full disk answers ENOSPC. Runs on every machine.
  const { started } = await node.start({ wrapper: ['bash', '-c', 'ulimit -f 1024 && exec "$@"', 'bash'] });
  const token = await tokensOf(issuer).token('dana', node.url, SCOPES);
  const acknowledged: Acknowledged[] = [];
  const refused: Array<{ id: string; reply: Reply }> = [];
  for (let n = 0; n < 2_000 && started.child.exitCode === null; n++) {
    const id = `n${n}`;
    const reply = await node.call('put', { id }, { token }).catch(() => null);
    if (reply === null) break;
    const ack = acknowledgement(id, reply);
    if (ack) acknowledged.push(ack);
    else refused.push({ id, reply });
  }
  expect(acknowledged.length).toBeGreaterThan(5);
  expect(refused.length).toBeGreaterThan(0);
  expect((await started.ended).code).toBe(1);
  expect(started.err()).toContain('the audit log can take no further entry (disk I/O error), so the gateway stopped;');
  expect(started.err()).toContain('the start names the calls that were in flight');
  const reachedBefore = idsAtSink('put');

  const { started: again, ready } = await node.start();
  expect((await node.call('put', { id: 'room-again' })).status).toBe(200);
  await again.stop();
  const entries = await node.entries();
  for (const { reference, index } of acknowledged)
    expect(entries[index]).toMatchObject({ kind: 'outcome', ref: reference, outcome: { status: 'ok' } });
  expect(unannounced(entries, 'put')).toEqual([]);
  // A refused call reached the sink only if its intent was durable and its outcome was not; then the restart named it.
  const named = ready.unknown.map(({ call }) => call);
  expect(refused.filter(({ id }) => reachedBefore.includes(id)).length).toBeLessThanOrEqual(1);
  for (const { id, reply } of refused) {
    const left = reachedBefore.includes(id);
    // Who is told "does not make it" may repeat the call; nobody else is told that.
    expect([id, reply.status, reply.headers.has('retry-after'), reply.text]).toEqual([
      id,
      503,
      !left,
      expect.stringMatching(left ? /The call was sent, but .* is unknown: check before/ : /so it does not make it\./),
    ]);
    expect(named.some((call) => reply.text.includes(call))).toBe(left);
  }
});

describe('the authorization server as a process of its own', () => {
  /** Its users are made before it starts, as `remit up` makes them. */
  async function withAuthServer() {
    const folder = temporaryFolder();
    const port = await freePorts(1);
    const settings = {
      issuer: `http://127.0.0.1:${port}`,
      listen: { host: '127.0.0.1', port },
      dataDir: join(folder, 'authserver'),
      evaluationUsers: true,
    };
    mkdirSync(settings.dataDir, { mode: 0o700 });
    const once = await startAuthServer({ ...settings, trustedGateways: [] }, { log: pino({ level: 'silent' }) });
    const names = ['ada', 'dana', 'omar', 'sven', 'aiko'];
    const users = await once.createEvaluationUsers(
      names.map((username) => ({ username, name: username, email: `${username}@example.com` })),
    );
    await once.close();
    const of = (name: string) => users.find(({ username }) => username === name)!;
    const source: TokenSource = {
      issuer: settings.issuer,
      algorithms: ['ES256'],
      subject: (name) => of(name).sub,
      token: (name, resource, scope) =>
        accessToken({ issuer: settings.issuer, resource, scope, clientId: 'mcp-client' }, name, of(name).password),
    };
    const node = await gatewayNode(folder, source);
    const config = JSON.parse(readFileSync(node.configFile, 'utf8')) as object;
    const trustedGateways = [{ origin: new URL(node.url).origin }, { origin: node.adminUrl }];
    writeFileSync(node.configFile, JSON.stringify({ ...config, authserver: { ...settings, trustedGateways } }));
    const start = async () => {
      const auth = startRemit(['authserver', '--config', node.configFile, '--json']);
      await auth.ready();
      return auth;
    };
    return { node, source, start };
  }

  test('it is killed: tokens that exist go on, new ones fail cleanly, a gateway that starts meanwhile refuses with 503, and a restart heals all of it', async () => {
    const { node, source, start } = await withAuthServer();
    const [auth, { started }] = await Promise.all([start(), node.start()]);
    // One sign-in per person: the admin tokens of the set-up are kept.
    const kept = new Map<string, string>();
    const { token: fresh } = source;
    (source as { token: TokenSource['token'] }).token = async (person, audience, scope) => {
      const key = `${person} ${audience}`;
      kept.set(key, kept.get(key) ?? (await fresh(person, audience, scope)));
      return kept.get(key)!;
    };
    await node.setUp(sink);
    expect((await node.call('put', { id: 'before' })).status).toBe(200);

    auth.signal('SIGKILL');
    await auth.ended;
    expect((await node.call('put', { id: 'meanwhile' })).status).toBe(200);
    await expect(Promise.resolve(fresh('omar', node.url, SCOPES))).rejects.toThrow('fetch failed');

    await started.stop();
    const { started: cold } = await node.start();
    const refused = await node.call('put', { id: 'cold' });
    expect([refused.status, refused.headers.get('retry-after') !== null]).toEqual([503, true]);
    expect(idsAtSink('put')).toEqual(['before', 'meanwhile']);

    const again = await start();
    await until(
      'the keys to be fetched again',
      async () => (await node.call('put', { id: 'healed' })).status === 200,
      40_000,
    );
    // The session in the person's browser is gone; signing in works as ever.
    const next = await fresh('dana', node.url, SCOPES);
    expect((await node.call('put', { id: 'after' }, { token: next })).status).toBe(200);
    await Promise.all([cold.stop(), again.stop()]);
    expect(new Set(idsAtSink('put'))).toEqual(new Set(['before', 'meanwhile', 'healed', 'after']));
  });
});

test('AE-04: neither token, nor argument, nor result, nor upstream credential is in any file, log line, metric or error, of a held call neither', async () => {
  const canary = {
    argument: 'canary-argument-5f1c8a',
    result: 'canary-result-77d0e2',
    credential: 'canary-credential-b81a34',
    held: 'canary-held-93c6f0',
    url: 'canary-in-url-0b42d9',
  };
  const { node, started } = await governed(
    { log: { level: 'trace' }, telemetry: { prometheus: true } },
    { REMIT_SECRET_SINK: canary.credential },
    { headers: [{ name: 'Authorization', value: { secret: 'env:REMIT_SECRET_SINK' } }] },
  );
  sink.onCall(() => ({ content: [{ type: 'text', text: canary.result }] }));
  const told: string[] = [];
  const tokens: string[] = [];
  const token = async (person: string, scope = SCOPES): Promise<string> => {
    const made = await tokensOf(issuer).token(person, node.url, scope);
    tokens.push(made);
    return made;
  };
  const ask = async (tool: string, text: string, bearer: string): Promise<Reply> => {
    const reply = await node.call(tool, { id: 'x', text }, { token: bearer });
    told.push(reply.text, JSON.stringify([...reply.headers]));
    return reply;
  };
  for (const tool of ['put', 'get', 'wrong']) {
    const reply = await node.call(tool, { id: 'x', text: canary.argument }, { token: await token('dana') });
    expect([reply.status, reply.text.includes(canary.result)]).toEqual([200, true]);
  }
  // Every way to be refused that carries something secret.
  expect((await ask('put', canary.argument, await token('dana', 'sink:read'))).status).toBe(403);
  expect((await ask('put', canary.argument, `${await token('dana')}x`)).status).toBe(401);
  expect((await ask('put', canary.argument, canary.url)).status).toBe(401);
  expect((await ask('nothing', canary.argument, await token('dana'))).status).toBeGreaterThanOrEqual(200);
  expect((await ask('drop', canary.held, await token('omar'))).status).toBeGreaterThanOrEqual(200);
  const inUrl = await fetch(`${node.url}?access_token=${await token('dana')}&secret=${canary.url}`, {
    method: 'POST',
    body: `{"${canary.argument}":`,
  });
  told.push(await inUrl.text());
  expect(inUrl.status).toBe(401);
  // A server that throws what it got back at us.
  sink.intercept(({ headers, message }) =>
    message?.['method'] === 'tools/call'
      ? { status: 500, body: `${String(headers['authorization'])} ${JSON.stringify(message)}` }
      : null,
  );
  await ask('put', canary.argument, await token('dana'));
  expect(sink.wire()).toContain(canary.credential);
  for (const made of tokens) expect(sink.wire()).not.toContain(made);
  const metrics = await node.api('aiko', 'GET', '/metrics');
  expect([metrics.status, metrics.text.includes('remit_requests')]).toEqual([200, true]);
  told.push(metrics.text);
  await started.stop();

  const files = readdirSync(node.dataDir, { recursive: true, encoding: 'utf8' }).filter((name) =>
    statSync(join(node.dataDir, name)).isFile(),
  );
  expect(files).toEqual(expect.arrayContaining(['state.db', 'ledger.db', 'exchange.db']));
  const contents = new Map(files.map((name) => [name, readFileSync(join(node.dataDir, name))]));
  const where = (needle: string): string[] => [
    ...[...contents].filter(([, bytes]) => bytes.includes(needle)).map(([name]) => name),
    ...(started.out().includes(needle) ? ['standard output'] : []),
    ...(started.err().includes(needle) ? ['process log'] : []),
    ...(told.some((text) => text.includes(needle)) ? ['answers and metrics'] : []),
  ];
  expect(started.err().split('\n').length).toBeGreaterThan(5);
  // The search finds what is there.
  expect(where('sink/put')).toContain('state.db');
  for (const [what, needle] of Object.entries(canary)) expect([what, where(needle)]).toEqual([what, []]);
  for (const made of tokens) {
    const [, payload, signature] = made.split('.') as [string, string, string];
    expect([where(made), where(payload), where(signature)]).toEqual([[], [], []]);
  }
});

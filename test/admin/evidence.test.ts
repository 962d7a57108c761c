/** What the admin plane writes down, what it does when it cannot, and that its errors tell nothing (PH-10). */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import type { AdminContext } from '../../src/admin/context.ts';
import { ROUTES } from '../../src/admin/routes.ts';
import { LedgerFault } from '../../src/audit/ledger.ts';
import { StoreFault } from '../../src/store/state.ts';
import { READ_FILE, SERVER, seenTool, startPlane, type Plane } from './plane.ts';

const ABSENT = { 'if-none-match': '*' };

describe('reading the audit log', () => {
  let plane: Plane;
  beforeAll(async () => {
    plane = await startPlane();
    await plane.as('omar', 'PUT', '/servers/files', { reason: 'asked for', server: SERVER }, ABSENT);
  });
  afterAll(() => plane.close());

  test('AE-01: every mutation has one entry with actor, reason, revision and the reference', async () => {
    const before = (await plane.entries('admin')).length;
    const replies = [
      await plane.as('omar', 'POST', '/servers/files/submit', { reason: 'one' }),
      await plane.as('omar', 'POST', '/locks', { kind: 'agent', value: 'a', reason: 'two' }),
      await plane.as('ada', 'POST', '/people', {
        reason: 'three',
        person: { issuer: plane.issuer.issuer, subject: 'n', name: 'N', state: 'active', roles: [] },
      }),
    ];
    // How a lock ended is told later, in an entry of its own.
    const entries = (await plane.entries('admin'))
      .slice(before)
      .filter(({ event }) => event?.['what'] !== 'lock.settled');
    expect(
      entries.map(({ event, actor }) => [
        event?.['what'],
        event?.['reason'],
        event?.['revision'],
        actor?.person,
        actor?.client,
      ]),
    ).toEqual([
      ['server.in_review', 'one', replies[0]?.body['revision'], 'omar', 'remit-cli'],
      ['lock.added', 'two', replies[1]?.body['revision'], 'omar', 'remit-cli'],
      ['person.added', 'three', replies[2]?.body['revision'], 'ada', 'remit-cli'],
    ]);
    for (const entry of entries)
      expect(entry).toMatchObject({
        org: 'default',
        node: 'node-1',
        actor: { issuer: plane.issuer.issuer, token: expect.any(String) },
      });
  });

  test('reading needs a role, and every question is recorded with its filter', async () => {
    expect((await plane.as('omar', 'GET', '/audit/entries')).status).toBe(403);
    const found = await plane.as('aiko', 'GET', '/audit/entries?kind=admin&person=omar&limit=2');
    const entries = found.body['entries'] as Array<{ index: number; entry: { actor: { person: string } } }>;
    expect(entries.map(({ entry }) => entry.actor.person)).toEqual(['omar', 'omar']);
    expect((await plane.entries('admin')).at(-1)).toMatchObject({
      actor: { person: 'aiko' },
      event: { what: 'audit.searched', kind: 'admin', person: 'omar', limit: 2 },
    });
    const kindsWith = async (query: string): Promise<string[]> => {
      const { body } = await plane.as('aiko', 'GET', `/audit/entries?limit=500${query}`);
      return [...new Set((body['entries'] as Array<{ entry: { kind: string } }>).map(({ entry }) => entry.kind))];
    };
    expect(await kindsWith('')).toEqual(expect.arrayContaining(['admin', 'key']));
    expect(await kindsWith('&without=key')).not.toContain('key');
    expect(await kindsWith('&without=key')).toContain('admin');
    expect(await kindsWith('&kind=key&without=key')).toEqual([]);
  });

  test('one entry, its receipt and the checkpoint are what an outsider can verify', async () => {
    const entry = await plane.as('aiko', 'GET', '/audit/entries/0');
    expect(entry.body).toMatchObject({ index: 0, entry: { v: 1 } });
    const receipt = await plane.as('aiko', 'GET', '/audit/entries/0/receipt');
    expect([receipt.status, receipt.headers.get('content-type')]).toEqual([200, 'text/plain; charset=utf-8']);
    const { verifyReceipt } = await import('../../src/verify/proof.ts');
    const { parseVkey } = await import('../../src/verify/note.ts');
    const verdict = verifyReceipt(receipt.text, Buffer.from(String(entry.body['text'])), [
      parseVkey(plane.verifierKey),
    ]);
    expect(verdict).toMatchObject({ ok: true, index: 0 });
    expect((await plane.as('aiko', 'GET', '/audit/entries/999999')).body.error).toMatchObject({ code: 'not_found' });
    expect((await plane.as('aiko', 'GET', '/audit/entries/-1')).body.error).toMatchObject({
      code: 'invalid',
      field: 'index',
    });
    expect((await plane.as('aiko', 'GET', '/audit/checkpoint')).body).toMatchObject({
      log: 'default',
      verifierKey: plane.verifierKey,
    });
  });

  test('no route of the table changes or removes an entry', () => {
    expect(ROUTES.filter(({ path, method }) => path.includes('/audit/') && method !== 'GET')).toEqual([]);
  });
});

describe('when a part fails', () => {
  const planes: Plane[] = [];
  afterEach(async () => {
    for (const plane of planes.splice(0)) await plane.close();
  });
  /** A plane with one fault that can be switched on. */
  async function broken(
    wrap: (ctx: AdminContext, on: () => boolean) => AdminContext,
  ): Promise<Plane & { fail(now: boolean): void }> {
    let on = false;
    const plane = await startPlane({ wrap: (ctx) => wrap(ctx, () => on) });
    planes.push(plane);
    return { ...plane, fail: (now) => void (on = now) };
  }
  const failingLog = (ctx: AdminContext, on: () => boolean): AdminContext => ({
    ...ctx,
    audit: {
      ...ctx.audit,
      log: {
        ...ctx.audit.log,
        record: (entry) =>
          on() ? Promise.reject(new LedgerFault('ledger_failed', 'EIO')) : ctx.audit.log.record(entry),
      },
    },
  });

  test('AE-01: a change whose record cannot be made durable is never called a success', async () => {
    const plane = await broken(failingLog);
    plane.fail(true);
    const reply = await plane.as('omar', 'POST', '/locks', { kind: 'agent', value: 'a', reason: 'x' });
    const revision = reply.body.error?.['revision'];
    expect([reply.status, reply.body.error?.['code']]).toEqual([503, 'record_missing']);
    expect(reply.body.error).toMatchObject({
      message: expect.stringMatching(
        `^The lock lock_\\w+ is in force as revision ${String(revision)}; its record in the audit log is not durable yet\\.$`,
      ) as string,
      inForce: true,
    });
    // The safe direction: the lock holds, what runs under it was cancelled, the history names who and why.
    expect(plane.snapshot().locks?.size).toBe(1);
    expect(plane.locks).toHaveLength(1);
    plane.fail(false);
    const changes = (await plane.as('aiko', 'GET', `/changes?after=${Number(revision) - 1}`)).body['changes'];
    expect(changes).toMatchObject([
      { revision, actor: 'omar', reason: 'x', kind: 'lock' },
      { revision, actor: 'omar', reason: 'x', kind: 'void', body: { subject: { kind: 'client', value: 'a' } } },
    ]);
  });

  test('AE-01: reading the log is refused while the reading cannot be recorded', async () => {
    const plane = await broken(failingLog);
    plane.fail(true);
    for (const path of [
      '/audit/entries',
      '/audit/entries/0',
      '/audit/entries/0/receipt',
      '/audit/calls/x',
      '/audit/export?start=0',
    ])
      expect([path, (await plane.as('aiko', 'GET', path)).body.error?.['code']]).toEqual([path, 'record_missing']);
    expect((await plane.as('dana', 'GET', '/people')).status).toBe(403);
  });

  test('a store that does not answer changes nothing and says so', async () => {
    const plane = await broken((ctx, on) => ({
      ...ctx,
      state: {
        ...ctx.state,
        commit: (request) =>
          on() ? Promise.reject(new StoreFault('store_unavailable', 'down')) : ctx.state.commit(request),
      },
    }));
    plane.fail(true);
    const before = (await plane.entries('admin')).length;
    const reply = await plane.as('omar', 'POST', '/locks', { kind: 'agent', value: 'a', reason: 'x' });
    expect([reply.status, reply.body.error?.['code']]).toEqual([503, 'store_unavailable']);
    expect([plane.locks, (await plane.entries('admin')).length]).toEqual([[], before]);
  });

  test(
    'a node that does not apply its own change in time says which revision to wait for',
    { timeout: 120_000 },
    async () => {
      const plane = await broken((ctx, on) => ({
        ...ctx,
        follower: {
          ...followerOf(ctx),
          advanceTo: (revision) => (on() ? Promise.reject(new Error('behind')) : ctx.follower.advanceTo(revision)),
        },
      }));
      plane.fail(true);
      const reply = await plane.as('omar', 'POST', '/locks', { kind: 'agent', value: 'a', reason: 'x' });
      expect([reply.status, reply.body.error?.['code'], typeof reply.body.error?.['revision']]).toEqual([
        503,
        'not_applied',
        'number',
      ]);
      expect(reply.body.error?.['inForce']).toBe(false);
    },
  );

  test('AE-01: what is neither applied here nor recorded is not called in force', async () => {
    const plane = await broken((ctx, on) => ({
      ...failingLog(ctx, on),
      follower: {
        ...followerOf(ctx),
        advanceTo: (revision) => (on() ? Promise.reject(new Error('behind')) : ctx.follower.advanceTo(revision)),
      },
    }));
    plane.fail(true);
    const reply = await plane.as('omar', 'POST', '/locks', { kind: 'agent', value: 'a', reason: 'x' });
    const revision = reply.body.error?.['revision'];
    expect([reply.status, reply.body.error]).toMatchObject([
      503,
      {
        code: 'record_missing',
        message: `The change is committed as revision ${String(revision)}, but its audit record could not be made durable.`,
        inForce: false,
      },
    ]);
  });

  test('AE-01: of any other change the same is said without a lock', async () => {
    const plane = await broken(failingLog);
    const lock = await plane.as('omar', 'POST', '/locks', { kind: 'agent', value: 'a', reason: 'x' });
    plane.fail(true);
    const reply = await plane.as('ada', 'DELETE', `/locks/${String(lock.body['id'])}`, { reason: 'over' });
    const revision = reply.body.error?.['revision'];
    expect([reply.status, reply.body.error]).toMatchObject([
      503,
      {
        message: `The change is in force as revision ${String(revision)}, but its audit record could not be made durable.`,
        inForce: true,
      },
    ]);
  });

  test('a node with a stale view lets nobody in and is not ready', async () => {
    const plane = await broken((ctx, on) => ({
      ...ctx,
      follower: { ...followerOf(ctx), isFresh: (limit) => !on() && ctx.follower.isFresh(limit) },
    }));
    plane.fail(true);
    expect((await plane.as('ada', 'GET', '/me')).body.error).toMatchObject({ code: 'state_stale' });
    const ready = await plane.raw('GET', '/readyz');
    expect([ready.status, ready.body]).toEqual([503, { status: 'not_ready', reasons: ['state_stale'] }]);
    expect((await plane.raw('GET', '/healthz')).status).toBe(200);
  });

  test('with a lock that cannot be read nobody gets in, not even who could lift it', async () => {
    const plane = await broken((ctx) => ctx);
    await plane.seed([plane.put('lock', 'lock_bad', { subject: 'somebody' })]);
    const reply = await plane.as('ada', 'GET', '/locks');
    expect([reply.status, reply.body.error?.['code']]).toEqual([503, 'state_unsound']);
  });

  test('an issuer whose keys cannot be read is told apart from a bad token', async () => {
    const plane = await broken((ctx) => ctx);
    plane.issuer.setMode('down');
    const reply = await plane.as('ada', 'GET', '/me');
    expect([reply.status, reply.body.error?.['code'], reply.headers.get('www-authenticate')]).toEqual([
      503,
      'keys_unavailable',
      null,
    ]);
  });

  const followerOf = (ctx: AdminContext): AdminContext['follower'] => ({
    records: ctx.follower.records,
    get revision() {
      return ctx.follower.revision;
    },
    isFresh: (limit) => ctx.follower.isFresh(limit),
    advanceTo: (revision) => ctx.follower.advanceTo(revision),
    onAdvance: (listener) => ctx.follower.onAdvance(listener),
  });
});

describe('PH-10', () => {
  const CANARY = 'canary-9f3e';
  /** What no caller may ever see: an upstream's address, a file of the host, a token, another tenant, a stack. */
  const LEAK = new Error(
    `connect ECONNREFUSED https://${CANARY}.internal:8443/mcp?token=${CANARY} /home/${CANARY}/state.db org=${CANARY}`,
  );
  const boom = (): never => {
    throw LEAK;
  };
  const rejecting = () => Promise.reject(LEAK);
  const FAULTS: Readonly<Record<string, (ctx: AdminContext) => AdminContext>> = {
    'store commit': (ctx) => ({
      ...ctx,
      state: {
        ...ctx.state,
        commit: () => Promise.reject(new StoreFault('store_corrupt', LEAK.message, { cause: LEAK })),
      },
    }),
    'store commit, unknown error': (ctx) => ({ ...ctx, state: { ...ctx.state, commit: rejecting } }),
    'store reads': (ctx) => ({
      ...ctx,
      state: { ...ctx.state, history: rejecting, changesAfter: rejecting, head: rejecting },
    }),
    'audit record': (ctx) => ({ ...ctx, audit: { ...ctx.audit, log: { ...ctx.audit.log, record: rejecting } } }),
    'ledger reads': (ctx) => ({
      ...ctx,
      audit: { ...ctx.audit, ledger: { ...ctx.audit.ledger, read: rejecting, size: rejecting, hashes: rejecting } },
    }),
    'receipts and checkpoints': (ctx) => ({
      ...ctx,
      audit: { ...ctx.audit, log: { ...ctx.audit.log, receipt: rejecting, checkpointNow: rejecting } },
    }),
    'log status': (ctx) => ({ ...ctx, audit: { ...ctx.audit, log: { ...ctx.audit.log, status: boom } } }),
    catalogue: (ctx) => ({
      ...ctx,
      catalogue: {
        refresh: () => Promise.resolve({ ok: false, error: { code: 'upstream_unreachable', message: LEAK.message } }),
        status: () => ({ state: 'down', seenAt: null, problem: null }),
      },
    }),
    'catalogue throws': (ctx) => ({ ...ctx, catalogue: { refresh: rejecting, status: boom } }),
    snapshot: (ctx) => ({ ...ctx, snapshot: boom }),
    verifier: (ctx) => ({ ...ctx, verifier: { ...ctx.verifier, verify: rejecting } }),
    hooks: (ctx) => ({ ...ctx, stopped: boom, onApproval: boom, metrics: rejecting }),
  };
  const filled = (path: string): string =>
    path
      .replace(':person', 'dana')
      .replace(':server', 'files')
      .replace(':tool', 'read_file')
      .replace(':policy', 'baseline.developer')
      .replace(':index', '0')
      .replace(':kind', 'server')
      .replace(':id', 'files')
      .replace(/:\w+/g, 'x');
  const BODIES: Readonly<Record<string, object>> = {
    'POST /api/v1/locks': { kind: 'agent', value: 'a', reason: 'x' },
    'POST /api/v1/access/explain': { person: 'dana', server: 'files', tool: 'read_file' },
    'POST /api/v1/servers/:server/refresh': {},
    'POST /api/v1/policies/check': { text: 'permit (principal' },
  };

  /** Every route, as a person with every role, with a body that reaches the faulty part where that is possible. */
  async function answers(plane: Plane): Promise<string> {
    const seen: string[] = [];
    const headers = { authorization: `Bearer ${plane.tokenOf('root')}`, 'content-type': 'application/json' };
    // What ends the sign-in of who asks comes last.
    const last = (path: string): number => (path.endsWith('/me/sign-out') ? 1 : 0);
    for (const { method, path } of ROUTES.toSorted((a, b) => last(a.path) - last(b.path))) {
      const body = method === 'GET' ? undefined : JSON.stringify(BODIES[`${method} ${path}`] ?? { reason: 'x' });
      const { 'content-type': _, ...bare } = headers;
      const reply = await plane.raw(method, filled(path), body === undefined ? bare : headers, body);
      seen.push(`${method} ${path} ${reply.status} ${JSON.stringify([...reply.headers])} ${reply.text}`);
    }
    return seen.join('\n');
  }
  async function prepared(wrap: (ctx: AdminContext) => AdminContext): Promise<Plane> {
    const plane = await startPlane({ wrap });
    const tool = seenTool('files', READ_FILE);
    await plane.seed([
      plane.put('person', 'root', {
        issuer: plane.issuer.issuer,
        subject: 'root',
        name: 'root',
        state: 'active',
        roles: ['developer', 'operator', 'approver', 'security_reviewer', 'auditor', 'administrator'],
      }),
      plane.put('server', 'files', { ...SERVER, state: 'in_review' }),
      plane.put('tool', tool.id, tool.body),
    ]);
    return plane;
  }

  test.each(Object.keys(FAULTS))('PH-10: no route tells anything about a fault of: %s', async (name) => {
    const plane = await prepared(FAULTS[name]!);
    try {
      const text = await answers(plane);
      expect(text.includes(CANARY)).toBe(false);
      expect(text).not.toMatch(/ECONNREFUSED|node_modules|\.ts:\d+|at \w+ \(|Error:/);
      expect(text).not.toContain(plane.dir);
      // The fault was reached by some route: else this test says nothing.
      expect(/ (?:500|502|503) /.test(text)).toBe(true);
    } finally {
      await plane.close();
    }
  });

  test('PH-10: the operator finds the cause in the process log under the reference', async () => {
    const plane = await prepared(FAULTS['catalogue']!);
    await plane.seed([plane.put('server', 'files', { ...SERVER, state: 'enabled' })]);
    const reply = await plane.raw(
      'POST',
      '/api/v1/servers/files/refresh',
      { authorization: `Bearer ${plane.tokenOf('root')}`, 'content-type': 'application/json' },
      '{}',
    );
    expect([reply.status, reply.body.error?.['code']]).toEqual([502, 'upstream_unreachable']);
    const ref = reply.body.error?.['ref'];
    expect(plane.logged.find(({ fields }) => (fields as { ref?: string }).ref === ref)).toMatchObject({
      level: 'warn',
      fields: { detail: expect.stringContaining(CANARY) },
    });
    await plane.close();
  });

  test('PH-10: the search for canaries finds one (vulnerable twin)', async () => {
    const plane = await prepared((ctx) => ({ ...ctx, facts: { ...ctx.facts, posture: { where: `/home/${CANARY}` } } }));
    expect((await answers(plane)).includes(CANARY)).toBe(true);
    await plane.close();
  });
});

test('an exported log verifies offline, and one changed byte does not', async () => {
  const { exportLog } = await import('../../src/audit/export.ts');
  const { verifyLog } = await import('../../src/verify/log.ts');
  const { parseVkey } = await import('../../src/verify/note.ts');
  const { openApi } = await import('../../src/cli/api.ts');
  const { remoteLedger } = await import('../../src/cli/remote-ledger.ts');
  const { readdirSync, readFileSync, writeFileSync } = await import('node:fs');
  const plane = await startPlane();
  const dir = mkdtempSync(join(tmpdir(), 'remit-export-'));
  try {
    for (let index = 0; index < 300; index++)
      await plane.log.record({ v: 1, kind: 'clock', time: new Date().toISOString(), node: 'node-1', org: 'default' });
    const api = openApi(plane.url, { REMIT_TOKEN: plane.tokenOf('aiko') });
    const { body: checkpoint } = await api.get<{ log: string; size: number; note: string; verifierKey: string }>(
      '/audit/checkpoint',
    );
    const result = await exportLog({
      ledger: remoteLedger(api, checkpoint, () => undefined),
      log: checkpoint.log,
      dir,
      vkeys: [parseVkey(checkpoint.verifierKey)],
    });
    expect(result.size).toBeGreaterThan(300);
    const report = await verifyLog(dir, { vkeys: [plane.verifierKey] });
    expect([report.verified, report.size]).toEqual([true, result.size]);

    const bundle = join(
      dir,
      'tile',
      'entries',
      readdirSync(join(dir, 'tile', 'entries')).find((name) => name === '000')!,
    );
    const bytes = readFileSync(bundle);
    bytes[100] = bytes[100]! ^ 1;
    writeFileSync(bundle, bytes);
    expect((await verifyLog(dir, { vkeys: [plane.verifierKey] })).verified).toBe(false);
  } finally {
    rmSync(dir, { recursive: true, force: true });
    await plane.close();
  }
});
